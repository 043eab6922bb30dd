// The index of TFRecords in a cache folder: what the pass over them made (dataset/index.h, version 2), so that the
// ranks of a machine share one copy and the next start reads no record.
//
// It belongs to the records whose names, sizes and ETags (in a directory: times of last change) are as they were, with
// the same label map. Their bytes are not looked at again; the index's own checksums are, each time it is opened.
// One process makes it; others wait for it by a lock beside it. Who cannot write there, or lock, goes without.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "dataset/index.h"
#include "dataset/tfrecord_shards.h"
#include "storage/file_lock.h"
#include "storage/local_store.h"
#include "storage/storage.h"

namespace atl::dataset {

// What tells these records, with this label map ("" without one), from others: two that are equal give the same index.
IndexSource tfrecord_source(const storage::ObjectStore& files,
                            const TfrecordShards& shards,
                            std::string_view label_map);

class TfrecordIndex {
 public:
  // The one of these records in `folder`, whether it is there or not.
  TfrecordIndex(const std::string& folder,
                const storage::ObjectStore& files,
                const TfrecordShards& shards,
                const IndexSource& source);

  // nullopt where there is none that is whole and fits. `records` is set.
  std::optional<OpenedIndex> open();
  // Held by the one process that makes it. nullopt where there are no locks: then each does. kCancelled on a stop.
  Result<std::optional<storage::FileLock>> lock(const std::stop_token& stop,
                                                const std::function<void()>& on_wait);
  // Atomically; and removes those of the records' older versions.
  Result<void> write(const CocoDataset& dataset, const IndexedRecords& records);

 private:
  storage::LocalStore cache_;
  std::string stem_;
  std::string key_;
  IndexSource source_;
  std::vector<storage::ObjectInfo> shards_;
};

}  // namespace atl::dataset
