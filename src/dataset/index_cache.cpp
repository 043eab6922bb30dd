#include "dataset/index_cache.h"

#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "dataset/index.h"

namespace atl::dataset::internal {
namespace {

using storage::ObjectInfo;
using storage::ObjectStore;

// Of the file's name, so much stands in that of its index in the cache, for people.
constexpr size_t kShownNameBytes = 100;

}  // namespace

int64_t nanoseconds(const ObjectInfo& info) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(info.modified.time_since_epoch())
      .count();
}

bool has_lasting_etags(const ObjectStore& store) {
  return store.uri().find("://") != std::string::npos;
}

std::string cached_index_stem(const ObjectStore& store, std::string_view key) {
  std::string uri = store.uri();
  if (!has_lasting_etags(store)) {
    std::error_code error;
    const auto absolute = std::filesystem::absolute(uri, error);
    if (!error) uri = absolute.lexically_normal().string();
  }
  while (uri.ends_with('/')) uri.pop_back();
  const std::string_view name = key.substr(key.rfind('/') + 1);
  return fmt::format(
      "{}-{:016x}", name.substr(0, kShownNameBytes), hash_of(fmt::format("{}/{}", uri, key)));
}

void remove_older_indexes(ObjectStore& cache,
                          const std::string& stem,
                          std::string_view newest,
                          std::chrono::hours spared) {
  const auto kept = cache.head(newest);
  if (!kept) return;
  std::vector<std::string> older;
  const auto listed = cache.list(stem + "-", [&](const ObjectInfo& info) {
    const bool is_old = spared.count() == 0 || info.modified + spared < kept->modified;
    if (info.key != newest && info.key.ends_with(kIndexSuffix) && is_old) older.push_back(info.key);
    return true;
  });
  if (!listed) return;
  for (const std::string& key : older) (void)cache.remove(key);
}

}  // namespace atl::dataset::internal
