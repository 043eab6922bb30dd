// Reading: the namespace says which version there is, and all bytes of one read are of that version. Where
// the bucket says that it is another one by now (kConflict), the namespace is told to doubt it, it is
// looked up anew, and the read begins again as a whole; one read never mixes two versions.
//
// head() and list() ask the bucket itself, for they are how a program finds out what has changed; what
// they hear is recorded, so that the reads that follow are of that version.
#include "storage/cache/cached_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <list>
#include <mutex>

#include "storage/cache/append_buffer.h"
#include "storage/cache/bucket_claim.h"
#include "storage/cache/object_read.h"
#include "storage/cache/prefetcher.h"
#include "storage/cache/read_ahead.h"
#include "storage/key.h"

namespace atl::storage {
namespace {

// An object that changes more often while it is read is not one to be read.
constexpr int kTries = 4;

// Open readers of parts, each with at most a block that it stands in.
constexpr size_t kMaxReaders = 16;

// The parts of a put as one source. They outlive the upload, which is waited for.
UploadSource source_of(std::span<const std::span<const std::byte>> parts) {
  uint64_t size_bytes = 0;
  for (const auto part : parts) size_bytes += part.size();
  return {size_bytes, [parts](uint64_t offset, uint64_t size) -> Result<Blob> {
            size_t i = 0;
            for (; i < parts.size() && offset >= parts[i].size(); ++i) offset -= parts[i].size();
            if (i == parts.size()) return Blob();
            if (offset + size <= parts[i].size()) return Blob({}, parts[i].subspan(offset, size));
            std::vector<std::byte> bytes;
            bytes.reserve(size);
            for (; i < parts.size() && bytes.size() < size; ++i, offset = 0) {
              const auto rest = parts[i].subspan(offset);
              const auto taken = rest.first(std::min<size_t>(rest.size(), size - bytes.size()));
              bytes.insert(bytes.end(), taken.begin(), taken.end());
            }
            return Blob(std::move(bytes));
          }};
}

// The readers of parts, by key, those used last.
class Readers {
 public:
  Readers(std::shared_ptr<ReadAhead> ahead, std::shared_ptr<Remote> remote)
      : ahead_(std::move(ahead)), remote_(std::move(remote)) {}

  std::shared_ptr<ObjectReader> get(const ObjectVersion& version) {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(
        readers_, [&](const auto& reader) { return reader->version().key == version.key; });
    if (found != readers_.end()) {
      readers_.splice(readers_.begin(), readers_, found);
      if ((*found)->version().etag == version.etag) return readers_.front();
      readers_.pop_front();
    }
    readers_.push_front(std::make_shared<ObjectReader>(ahead_, remote_, version));
    if (readers_.size() > kMaxReaders) readers_.pop_back();
    return readers_.front();
  }

 private:
  const std::shared_ptr<ReadAhead> ahead_;
  const std::shared_ptr<Remote> remote_;
  std::mutex mutex_;
  std::list<std::shared_ptr<ObjectReader>> readers_;  // the one used last first
};

class CachedStore : public ObjectStore {
 public:
  CachedStore(std::shared_ptr<Remote> remote,
              std::shared_ptr<Namespace> names,
              std::shared_ptr<BlockCache> cache,
              const CachedStoreOptions& options)
      : remote_(std::move(remote)),
        names_(std::move(names)),
        cache_(std::move(cache)),
        listing_age_(options.listing_age),
        readers_(std::make_shared<ReadAhead>(cache_, options.max_ahead_bytes), remote_),
        prefetcher_(remote_,
                    names_,
                    cache_,
                    {.max_ahead_bytes = options.max_ahead_bytes,
                     .keep_in_memory_bytes = options.keep_in_memory_bytes}),
        appends_([this](std::string_view key, const UploadSource& source) {
          return upload(key, source);
        }) {}

  std::string uri() const override { return remote_->uri(); }

  Result<ObjectInfo> head(std::string_view key) override {
    ATOLL_TRY(prepare(key));
    auto found = remote_->stat(key);
    if (!found) {
      // It may be the whole bucket that is not there.
      if (found.error().code == ErrorCode::kNotFound) (void)names_->doubt(key, {});
      return tl::unexpected(std::move(found).error());
    }
    ATOLL_TRY(names_->record(found->info, &found->metadata));
    return std::move(found->info);
  }

  Result<Blob> get(std::string_view key) override {
    return read_version(key, [&](const ObjectVersion& version) -> Result<Blob> {
      if (auto bytes = prefetcher_.take(key, version.etag)) return std::move(*bytes);
      return read_object(*cache_, remote_, version);
    });
  }

  Result<Blob> get_range(std::string_view key, uint64_t offset, uint64_t size_bytes) override {
    return read_version(key, [&](const ObjectVersion& version) -> Result<Blob> {
      auto bytes = prefetcher_.take_range(key, version.etag, offset, size_bytes);
      return bytes ? std::move(*bytes) : readers_.get(version)->read(offset, size_bytes);
    });
  }

  Result<void> put(std::string_view key,
                   std::span<const std::span<const std::byte>> parts) override {
    ATOLL_TRY_CONTEXT(check_key(key), uri());
    appends_.forget(key);
    return upload(key, source_of(parts));
  }

  Result<void> append(std::string_view key, std::span<const std::byte> bytes) override {
    ATOLL_TRY_CONTEXT(check_key(key), uri());
    return appends_.append(key, bytes, [&]() -> Result<Blob> {
      // As the bucket has it now: what is lost here would be lost for good.
      const auto found = look_for(*remote_, key);
      if (!found && found.error().code == ErrorCode::kNotFound) return Blob();
      if (!found) return tl::unexpected(found.error());
      ATOLL_TRY(names_->record(found->info, &found->metadata));
      return get(key);
    });
  }

  Result<void> list(std::string_view prefix,
                    const std::function<bool(const ObjectInfo&)>& visit) override {
    ATOLL_TRY_CONTEXT(check_prefix(prefix), uri());
    ATOLL_TRY(appends_.flush());
    // One page needs no import, which would go on to the end whatever the visitor says.
    const ListPage page = ATOLL_TRY(remote_->list_page(prefix, {}));
    // Directory markers are left out, and what no directory could hold.
    bool goes_on = true;
    for (const ObjectInfo& info : page.objects) {
      ATOLL_TRY(names_->record(info, nullptr));
      goes_on = goes_on && (!check_key(info.key) || visit(info));
    }
    if (!goes_on || page.next.empty()) return {};
    ATOLL_TRY(names_->import(prefix, {}, {}, [](const ImportCounts&) {}));
    return names_->list(prefix, [&](const ObjectInfo& info) {
      return info.key <= page.objects.back().key || !check_key(info.key) || visit(info);
    });
  }

  Result<void> remove(std::string_view key) override {
    ATOLL_TRY_CONTEXT(check_key(key), uri());
    appends_.forget(key);
    const std::string name(key);
    ATOLL_TRY(remote_->remove(std::span(&name, 1)));
    return names_->forget(key);
  }

  void will_need(std::span<const std::string> keys) override {
    // Whoever has a plan reads many: then one listing is cheaper than a look-up here and there.
    if (!planned_.exchange(true)) {
      const auto listed = names_->imported_at();
      if (!listed || std::chrono::system_clock::now() - *listed > listing_age_) {
        names_->import_in_background();
      }
    }
    prefetcher_.want(keys);
  }

  // Parts are of few objects, so no listing is worth it.
  void will_need_ranges(std::span<const ObjectRange> ranges) override {
    prefetcher_.want_ranges(ranges);
  }

  Result<void> flush() override { return appends_.flush(); }

  Result<Claim> claim() override { return claim_bucket(remote_, claim_lost_); }

 private:
  // What every read begins with: what was appended to the key is a part of it.
  Result<void> prepare(std::string_view key) {
    ATOLL_TRY_CONTEXT(check_key(key), uri());
    return appends_.flush(key);
  }

  template <typename Read>
  Result<Blob> read_version(std::string_view key, const Read& read) {
    ATOLL_TRY(prepare(key));
    for (int attempt = 1;; ++attempt) {
      const ObjectInfo info = ATOLL_TRY(look_up(key));
      auto bytes = read(ObjectVersion{info.key, info.etag, info.size_bytes});
      if (bytes) return bytes;
      // Changed, or removed, since the namespace heard of it.
      const ErrorCode code = bytes.error().code;
      if (code != ErrorCode::kConflict && code != ErrorCode::kNotFound) return bytes;
      if (attempt == kTries) {
        const bool missing = code == ErrorCode::kNotFound;
        if (missing && ATOLL_TRY(look_for(*remote_, key)).info.etag == info.etag) {
          return fail(
              ErrorCode::kInconsistent,
              fmt::format("reading {}/{}: the bucket has it, and does not give it", uri(), key));
        }
        Error error = std::move(bytes).error();
        error.code = ErrorCode::kConflict;
        if (error.hint.empty()) error.hint = "something writes to it all the time";
        return tl::unexpected(std::move(error));
      }
      ATOLL_TRY(names_->doubt(key, info.etag));
    }
  }

  // That something is not there is asked again: others may have written it since it was listed.
  Result<ObjectInfo> look_up(std::string_view key) {
    auto known = names_->lookup(key);
    if (known || known.error().code != ErrorCode::kNotFound) return known;
    const auto found = ATOLL_TRY(look_for(*remote_, key));
    ATOLL_TRY(names_->record(found.info, &found.metadata));
    return found.info;
  }

  Result<void> upload(std::string_view key, const UploadSource& source) {
    if (*claim_lost_) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("writing {}/{}: another run has taken this place over", uri(), key),
                  "this run was not heard of for a minute; stop one of the two");
    }
    const ObjectInfo info = ATOLL_TRY(remote_->upload(key, source, {}));
    return names_->record(info, nullptr);
  }

  const std::shared_ptr<Remote> remote_;
  const std::shared_ptr<Namespace> names_;
  const std::shared_ptr<BlockCache> cache_;
  const std::chrono::seconds listing_age_;
  const std::shared_ptr<std::atomic<bool>> claim_lost_ = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool> planned_ = false;
  Readers readers_;
  Prefetcher prefetcher_;
  AppendBuffer appends_;  // last, for it still uploads when it goes
};

}  // namespace

std::unique_ptr<ObjectStore> make_cached_store(std::shared_ptr<Remote> remote,
                                               std::shared_ptr<Namespace> names,
                                               std::shared_ptr<BlockCache> cache,
                                               CachedStoreOptions options) {
  return std::make_unique<CachedStore>(
      std::move(remote), std::move(names), std::move(cache), options);
}

}  // namespace atl::storage
