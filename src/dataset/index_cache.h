// How the indexes of large annotations, JSON's and TFRecords', are called and kept in a cache folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/storage.h"

namespace atl::dataset::internal {

int64_t nanoseconds(const storage::ObjectInfo& info);

// Whether the store's ETags tell versions apart wherever the file is copied or mounted. A directory's
// are made of inode and time, and a copy of the same JSON has others.
bool has_lasting_etags(const storage::ObjectStore& store);

// "x.json-0123456789abcdef": what the indexes of all versions of `key` begin with in a cache. The same directory by
// another relative path is the same.
std::string cached_index_stem(const storage::ObjectStore& store, std::string_view key);

// The indexes of versions that are no more: all of this stem but the newest, and those that are hardly older.
// What cannot be removed does no harm.
void remove_older_indexes(storage::ObjectStore& cache,
                          const std::string& stem,
                          std::string_view newest,
                          std::chrono::hours spared = {});

}  // namespace atl::dataset::internal
