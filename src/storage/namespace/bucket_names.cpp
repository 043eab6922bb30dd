#include "storage/namespace/bucket_names.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "storage/key.h"
#include "storage/namespace/directories.h"
#include "storage/namespace/entries.h"
#include "storage/namespace/key_order.h"
#include "storage/namespace/key_walk.h"
#include "storage/namespace/known_ranges.h"
#include "storage/sha256.h"

namespace atl::storage {
namespace {

// Rows that are read in one snapshot and visited after it: so a slow visitor keeps no old pages alive.
constexpr int kVisitRows = 1000;

tl::unexpected<Error> no_such(const Remote& remote, std::string_view what) {
  return fail(ErrorCode::kNotFound, fmt::format("{}/{}: no such object", remote.uri(), what));
}

}  // namespace

BucketNames::BucketNames(std::shared_ptr<Remote> remote,
                         NamespaceOptions options,
                         std::unique_ptr<NamesDatabase> database)
    : remote_(std::move(remote)), options_(std::move(options)), database_(std::move(database)) {}

BucketNames::~BucketNames() = default;

int64_t BucketNames::now_ns() const {
  int64_t now = to_ns(options_.now());
  int64_t last = last_now_ns_.load();
  do {
    now = std::max(now, last + 1);
  } while (!last_now_ns_.compare_exchange_weak(last, now));
  return now;
}

int64_t BucketNames::since_ns() const {
  return now_ns() - std::chrono::nanoseconds(options_.max_age).count();
}

void BucketNames::set_policy(ImportPolicy policy) {
  const std::lock_guard lock(mutex_);
  policy_ = policy;
}

ImportPolicy BucketNames::policy() const {
  const std::lock_guard lock(mutex_);
  return policy_;
}

void BucketNames::on_change(OnChange changed) {
  const std::lock_guard lock(observer_mutex_);
  changed_ = std::move(changed);
}

void BucketNames::tell(const std::vector<std::string>& changed) {
  const std::lock_guard lock(observer_mutex_);
  if (!changed_) return;
  for (const auto& key : changed) changed_(key);
}

Result<void> BucketNames::list_once(const std::string& first, int64_t since_ns) {
  const auto claim = ATOLL_TRY(claim_unlisted(claims_, *database_, first, since_ns));
  if (claim) return finish(apply_later(ATOLL_TRY(list_from(*remote_, {}, first, now_ns()))));
  claims_.wait_for(first);
  return {};  // the caller looks again
}

// The claim ends when the page is in the database, whenever that is looked at.
BucketNames::Applying BucketNames::apply_later(ListedPage page,
                                               std::optional<ListingClaims::Held> claim) {
  auto applied = std::make_shared<AppliedPage>();
  auto work = [applied,
               claim = std::make_shared<const std::optional<ListingClaims::Held>>(std::move(claim)),
               policy = policy(),
               page = std::make_shared<const ListedPage>(std::move(page))](
                  NamesConnection& c) -> Result<void> {
    *applied = ATOLL_TRY(apply_page(c, *page, policy, page->asked_ns));
    return {};
  };
  return {database_->write_later(std::move(work)), std::move(applied)};
}

Result<void> BucketNames::finish(Applying applying) {
  ATOLL_TRY(applying.done.get());
  tell(applying.applied->changed);
  return {};
}

Result<ObjectInfo> BucketNames::lookup(std::string_view key) {
  const int64_t since = since_ns();
  for (;;) {
    bool known = false;
    std::optional<EntryRow> row;
    ATOLL_TRY(database_->read([&](NamesConnection& c) -> Result<void> {
      known = ATOLL_TRY(is_known(c, key, since));
      if (known) row = ATOLL_TRY(find_object(c, key));
      return {};
    }));
    if (known)
      return row ? info_of(std::string(key), *row) : Result<ObjectInfo>(no_such(*remote_, key));
    if (importing_) return ATOLL_TRY(ask_for(key)).info;
    ATOLL_TRY(list_once(std::string(key), since));
  }
}

Result<DirectoryEntry> BucketNames::lookup_path(std::string_view path) {
  if (!path.empty() && !can_be_path(path)) return no_such(*remote_, path);
  const int64_t since = since_ns();
  for (;;) {
    PathAnswer answer;
    ATOLL_TRY(database_->read([&](NamesConnection& c) -> Result<void> {
      answer = ATOLL_TRY(look_at_path(c, path, since));
      return {};
    }));
    if (answer.list_first) {
      ATOLL_TRY(list_once(*answer.list_first, since));
    } else if (answer.entry) {
      return std::move(*answer.entry);
    } else {
      return no_such(*remote_, path);
    }
  }
}

Result<void> BucketNames::list_directory(const std::string& directory, const std::string& first) {
  const int64_t since = since_ns();
  for (;;) {
    std::optional<std::string> from;
    ATOLL_TRY(database_->read([&](NamesConnection& c) -> Result<void> {
      from = ATOLL_TRY(unlisted_part(c, directory, first, since));
      return {};
    }));
    if (!from) return {};
    if (auto claim = ATOLL_TRY(claim_unlisted(claims_, *database_, *from, since))) {
      ATOLL_TRY(list_run(directory, *from, since, std::move(*claim)));
    } else {
      claims_.wait_for(*from);
    }
  }
}

// Page after page, each asked for while the one before goes into the database, up to what is known, is being listed by
// another thread, or can be passed over.
Result<void> BucketNames::list_run(const std::string& directory,
                                   const std::string& first,
                                   int64_t since_ns,
                                   ListingClaims::Held claim) {
  const std::string past = prefix_end(directory);
  std::string at = first;
  std::string subdirectory;
  size_t keys_in_it = 0;
  std::optional<Applying> applying;
  for (std::optional<ListingClaims::Held> held(std::move(claim)); held;) {
    auto page = ATOLL_TRY(list_from(*remote_, directory, at, now_ns()));
    at = page.past;
    if (!page.objects.empty()) {
      const std::string& last = page.objects.back().key;
      const size_t slash = last.find('/', directory.size());
      const auto now_in = slash == std::string::npos ? std::string() : last.substr(0, slash + 1);
      if (now_in != subdirectory) keys_in_it = 0;
      subdirectory = now_in;
      keys_in_it += static_cast<size_t>(std::ranges::count_if(
          page.objects, [&](const auto& info) { return info.key.starts_with(subdirectory); }));
    }
    if (applying) ATOLL_TRY(finish(std::move(*applying)));
    applying = apply_later(std::move(page), std::exchange(held, std::nullopt));
    if (at < past && (subdirectory.empty() || keys_in_it < kKeysToPass)) {
      held = ATOLL_TRY(claim_unlisted(claims_, *database_, at, since_ns));
    }
  }
  return finish(std::move(*applying));
}

Result<void> BucketNames::children(std::string_view directory,
                                   std::string_view after,
                                   const std::function<bool(const DirectoryEntry&)>& visit) {
  std::string path(directory);
  if (!path.empty()) {
    if (!can_be_path(path)) return no_such(*remote_, path);
    path += '/';
  }
  // Every name behind `after` comes from a key behind it.
  ATOLL_TRY(list_directory(path, after.empty() ? path : key_after(path + std::string(after))));
  std::string last(after);
  for (;;) {
    EntriesPage page;
    ATOLL_TRY(database_->read([&](NamesConnection& c) -> Result<void> {
      page = ATOLL_TRY(shown_entries(c, path, last, kVisitRows));
      return {};
    }));
    for (const DirectoryEntry& entry : page.entries) {
      if (!visit(entry)) return {};
    }
    if (!page.last) return {};
    last = std::move(*page.last);
  }
}

Result<void> BucketNames::list(std::string_view prefix,
                               const std::function<bool(const ObjectInfo&)>& visit) {
  const int64_t since = since_ns();
  const std::string past = prefix_end(prefix);
  bool known = false;
  ATOLL_TRY(database_->read([&](NamesConnection& c) -> Result<void> {
    known = !ATOLL_TRY(first_gap(c, prefix, past, since));
    return {};
  }));
  if (!known) {
    Sweep sweep(
        *remote_,
        *database_,
        [this] { return now_ns(); },
        claims_,
        {std::string(prefix), policy(), since},
        [this](const ImportCounts&, const auto& changed) { tell(changed); });
    ATOLL_TRY(sweep.run({}));
  }
  std::string first(prefix);
  for (;;) {
    std::vector<ObjectInfo> objects;
    ATOLL_TRY(database_->read([&](NamesConnection& c) -> Result<void> {
      objects.clear();
      KeyWalk walk(c, first);
      while (objects.size() < kVisitRows) {
        auto next = ATOLL_TRY(walk.next());
        if (!next || next->key >= past) break;
        objects.push_back(info_of(std::move(next->key), next->row));
      }
      return {};
    }));
    for (const ObjectInfo& info : objects) {
      if (!visit(info)) return {};
    }
    if (objects.size() < kVisitRows) return {};
    first = key_after(objects.back().key);
  }
}

Result<RemoteObject> BucketNames::stat(std::string_view key) {
  const int64_t since = since_ns();
  for (;;) {
    bool known = false;
    std::optional<EntryRow> row;
    ATOLL_TRY(database_->read([&](NamesConnection& c) -> Result<void> {
      known = ATOLL_TRY(is_known(c, key, since));
      row = ATOLL_TRY(find_object(c, key));
      return {};
    }));
    if (known && !row) return no_such(*remote_, key);
    if (!row || !row->metadata) return ask_for(key);
    if (known) {
      return RemoteObject{info_of(std::string(key), *row), unpack_metadata(*row->metadata)};
    }
    // The listing says whether it is still this version, and of 999 others, too.
    ATOLL_TRY(list_once(std::string(key), since));
  }
}

Result<RemoteObject> BucketNames::ask_for(std::string_view key) {
  const int64_t asked = now_ns();
  auto object = look_for(*remote_, key);
  if (!object) {
    if (object.error().code == ErrorCode::kNotFound) ATOLL_TRY(forget_as_of(key, asked));
    return object;
  }
  object->info.key = key;
  ATOLL_TRY(record_as_of(object->info, &object->metadata, asked, false));
  return object;
}

Result<void> BucketNames::record(const ObjectInfo& info, const Metadata* metadata) {
  return record_as_of(info, metadata, now_ns(), true);
}

Result<void> BucketNames::forget(std::string_view key) { return forget_as_of(key, now_ns()); }

uint64_t BucketNames::hidden_keys() const {
  int64_t hidden = 0;
  const auto read = database_->read([&](NamesConnection& c) -> Result<void> {
    hidden = ATOLL_TRY(integer_fact(c, "hidden"));
    return {};
  });
  return read ? static_cast<uint64_t>(hidden) : 0;
}

Result<std::shared_ptr<Namespace>> Namespace::open(std::shared_ptr<Remote> remote,
                                                   NamespaceOptions options) {
  if (!options.now) options.now = [] { return std::chrono::system_clock::now(); };
  if (!options.log) {
    options.log = [](std::string_view line) {
      const std::string text = fmt::format("{}\n", line);
      // One write, so that lines of several threads do not mix; nothing is to be done if it fails.
      [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    };
  }
  const std::string identity = remote->identity();
  std::string path = fmt::format("{}/{}.db", options.directory, sha256_hex(identity).substr(0, 16));
  auto database = ATOLL_TRY_CONTEXT(NamesDatabase::open(std::move(path), identity, options.log),
                                    "opening the namespace");
  return std::make_shared<BucketNames>(std::move(remote), std::move(options), std::move(database));
}

}  // namespace atl::storage
