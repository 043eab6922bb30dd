#include "dataset/tfrecord_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "dataset/index_cache.h"
#include "dataset/tfrecord_store.h"

namespace atl::dataset {
namespace {

// Stands in for the program: one that reads records in another way must take another number.
constexpr int kReading = 1;

// Hosts that share a cache folder over a network may have copies of the records of different times, and each an index
// of its own, mapped: it must not be taken from under them (SIGBUS). After so long nobody is left.
constexpr std::chrono::hours kSparedFor{24 * 30};

// Wildcards are no help in a file's name; the hash behind it tells patterns apart.
std::string stem_of(const storage::ObjectStore& files, const TfrecordShards& shards) {
  std::string stem = internal::cached_index_stem(files, shards.pattern);
  std::ranges::replace_if(
      stem, [](char c) { return c == '*' || c == '?'; }, '_');
  return stem;
}

}  // namespace

IndexSource tfrecord_source(const storage::ObjectStore& files,
                            const TfrecordShards& shards,
                            std::string_view label_map) {
  const bool by_etag = internal::has_lasting_etags(files);
  std::string text = fmt::format("{}\n{}\n{}\n", kReading, label_map.size(), label_map);
  IndexSource source;
  for (const auto& shard : shards.shards) {
    fmt::format_to(std::back_inserter(text),
                   "{} {}\n{}\n",
                   shard.size_bytes,
                   by_etag ? shard.etag : std::to_string(internal::nanoseconds(shard)),
                   shard.key);
    source.size_bytes += shard.size_bytes;
  }
  source.hash = hash_of(text);
  return source;
}

TfrecordIndex::TfrecordIndex(const std::string& folder,
                             const storage::ObjectStore& files,
                             const TfrecordShards& shards,
                             const IndexSource& source)
    : cache_(folder),
      stem_(stem_of(files, shards)),
      key_(fmt::format("{}-{:016x}{}", stem_, source.hash, kIndexSuffix)),
      source_(source),
      shards_(shards.shards) {}

std::optional<OpenedIndex> TfrecordIndex::open() {
  const auto blob = cache_.get(key_);
  if (!blob || !verify_index(*blob, key_)) return std::nullopt;
  auto opened = open_index(*blob, key_);
  if (!opened || !opened->records || opened->source != source_) return std::nullopt;
  if (!fits_shards(opened->records->table, shards_)) return std::nullopt;
  return std::move(*opened);
}

Result<std::optional<storage::FileLock>> TfrecordIndex::lock(const std::stop_token& stop,
                                                             const std::function<void()>& on_wait) {
  auto taken =
      storage::FileLock::take(fmt::format("{}/{}.lock", cache_.uri(), key_), stop, on_wait);
  if (taken) return std::move(*taken);
  if (taken.error().code == ErrorCode::kCancelled) return tl::unexpected(taken.error());
  return std::nullopt;
}

Result<void> TfrecordIndex::write(const CocoDataset& dataset, const IndexedRecords& records) {
  ATOLL_TRY_CONTEXT(write_index(dataset, records, source_, cache_, key_),
                    "keeping an index of the records");
  internal::remove_older_indexes(cache_, stem_, key_, kSparedFor);
  return {};
}

}  // namespace atl::dataset
