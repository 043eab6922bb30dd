// BucketNames: imports, one at a time over all processes.
//
// The lock is a file beside the database, so that it ends with its holder. Who had to wait for it takes
// the result of the import that ended meanwhile, where that covers what he wanted.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <utility>

#include "base/rest.h"
#include "base/unique_fd.h"
#include "storage/file_bytes.h"
#include "storage/namespace/bucket_names.h"
#include "storage/namespace/entries.h"

namespace atl::storage {
namespace {

constexpr int64_t kHour_ns = 3'600'000'000'000;
// An event may come so late: SQS keeps messages for at most 14 days.
constexpr int64_t kSequencersKept_ns = int64_t{15} * 24 * kHour_ns;
constexpr std::chrono::milliseconds kLockInterval{20};

int64_t bits_of(const ImportPolicy& policy) {
  return (policy.new_objects ? 1 : 0) | (policy.changed_objects ? 2 : 0) |
         (policy.deleted_objects ? 4 : 0);
}

tl::unexpected<Error> stopped() { return fail(ErrorCode::kCancelled, "the import was stopped"); }

Result<UniqueFd> wait_for_lock(const std::string& path, const std::stop_token& stop) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail_on("opening", path);
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return fail_on("locking", path);
    if (!rest(kLockInterval, stop)) return stopped();
  }
  return fd;
}

Result<void> write_down(NamesConnection& c,
                        const std::string& prefix,
                        const ImportPolicy& policy,
                        const ImportCounts& counts,
                        int64_t now_ns) {
  ATOLL_TRY(c.put_fact.run(SqliteText{"import_prefix"}, std::string_view(prefix)).finish());
  ATOLL_TRY(set_fact(c, "import_policy", bits_of(policy)));
  ATOLL_TRY(set_fact(c, "import_listed", static_cast<int64_t>(counts.listed)));
  ATOLL_TRY(set_fact(c, "import_created", static_cast<int64_t>(counts.created)));
  ATOLL_TRY(set_fact(c, "import_changed", static_cast<int64_t>(counts.changed)));
  ATOLL_TRY(set_fact(c, "import_deleted", static_cast<int64_t>(counts.deleted)));
  ATOLL_TRY(set_fact(c, "import_requests", static_cast<int64_t>(counts.requests)));
  ATOLL_TRY(set_fact(c, "import_ended", now_ns));
  if (prefix.empty()) ATOLL_TRY(set_fact(c, "imported_at", now_ns));
  return c.purge_heard.run(now_ns - kHour_ns, now_ns - kSequencersKept_ns).finish();
}

// The counts of an import that ended since then and did all that this one would.
Result<std::optional<ImportCounts>> shared_result(NamesConnection& c,
                                                  const std::string& prefix,
                                                  const ImportPolicy& policy,
                                                  int64_t since_ns) {
  if (ATOLL_TRY(integer_fact(c, "import_ended")) < since_ns) return std::nullopt;
  const int64_t done = ATOLL_TRY(integer_fact(c, "import_policy"));
  if ((done & bits_of(policy)) != bits_of(policy)) return std::nullopt;
  {
    auto rows = c.get_fact.run(SqliteText{"import_prefix"});
    if (!ATOLL_TRY(rows.next()) || !prefix.starts_with(rows.bytes(0))) return std::nullopt;
  }
  const auto count = [&](std::string_view name) -> Result<uint64_t> {
    return static_cast<uint64_t>(ATOLL_TRY(integer_fact(c, name)));
  };
  return ImportCounts{ATOLL_TRY(count("import_listed")),
                      ATOLL_TRY(count("import_created")),
                      ATOLL_TRY(count("import_changed")),
                      ATOLL_TRY(count("import_deleted")),
                      ATOLL_TRY(count("import_requests"))};
}

}  // namespace

Result<ImportCounts> BucketNames::import(std::string_view prefix,
                                         ImportPolicy policy,
                                         std::stop_token stop,
                                         const std::function<void(const ImportCounts&)>& progress) {
  const int64_t asked = now_ns();
  const std::string below(prefix);
  const UniqueFd lock = ATOLL_TRY(wait_for_lock(database_->path() + ".import", stop));
  std::optional<ImportCounts> shared;
  ATOLL_TRY(database_->read([&](NamesConnection& c) -> Result<void> {
    shared = ATOLL_TRY(shared_result(c, below, policy, asked));
    return {};
  }));
  if (shared) return *shared;
  return import_now(below, policy, stop, progress);
}

Result<ImportCounts> BucketNames::import_now(
    const std::string& prefix,
    ImportPolicy policy,
    const std::stop_token& stop,
    const std::function<void(const ImportCounts&)>& progress) {
  SweepRequest request;
  request.prefix = prefix;
  request.policy = policy;
  request.since_ns = now_ns();
  request.learn_bounds = prefix.empty();
  Sweep sweep(
      *remote_,
      *database_,
      [this] { return now_ns(); },
      claims_,
      std::move(request),
      [&](const ImportCounts& so_far, const std::vector<std::string>& changed) {
        tell(changed);
        if (progress) progress(so_far);
      });
  const auto counts = ATOLL_TRY_CONTEXT(sweep.run(stop), "importing " + remote_->uri());
  ATOLL_TRY(database_->write(
      [&](NamesConnection& c) { return write_down(c, prefix, policy, counts, now_ns()); }));
  return counts;
}

void BucketNames::import_in_background() {
  background_ = {};  // the one before stops, and is waited for
  importing_ = true;
  background_ = std::jthread([this](const std::stop_token& stop) {
    if (rest(options_.head_start, stop)) {
      const auto imported = import({}, policy(), stop, {});
      if (!imported && imported.error().code != ErrorCode::kCancelled) {
        options_.log(fmt::format("{}; what is known of it stays", imported.error().to_string()));
      }
    }
    importing_ = false;
  });
}

std::optional<std::chrono::system_clock::time_point> BucketNames::imported_at() const {
  int64_t at = 0;
  const auto read = database_->read([&](NamesConnection& c) -> Result<void> {
    at = ATOLL_TRY(integer_fact(c, "imported_at"));
    return {};
  });
  if (!read || at == 0) return std::nullopt;
  return from_ns(at);
}

}  // namespace atl::storage
