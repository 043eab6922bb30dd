// The pictures inside TFRecords as an object store: a key is an image's name, its object the bytes
// of image/encoded. Everything that reads a dataset's pictures (loader, evaluation, validation)
// goes through an ObjectStore and so reads them where they lie. Read-only.
//
// A get() reads the whole record from the files' store, for its checksum is over all of it, and
// hands out a view into that. kCorrupt names the file and the record's offset. Names and places are views of flat
// arrays, which the ranks of a machine share where those are a mapped index.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/coco.h"
#include "dataset/tfrecord_table.h"
#include "storage/storage.h"

namespace atl::dataset {

class TfrecordStore : public storage::ObjectStore {
 public:
  // `files` holds the shards; the table is that of the dataset, whose names are the keys.
  TfrecordStore(std::unique_ptr<storage::ObjectStore> files,
                std::vector<storage::ObjectInfo> shards,
                CocoDataset dataset,
                RecordTable table)
      : files_(std::move(files)),
        shards_(std::move(shards)),
        dataset_(std::move(dataset)),
        table_(std::move(table)) {}

  std::string uri() const override;
  Result<storage::ObjectInfo> head(std::string_view key) override;
  Result<storage::Blob> get(std::string_view key) override;
  Result<storage::Blob> get_range(std::string_view key,
                                  uint64_t offset,
                                  uint64_t size_bytes) override;
  Result<void> put(std::string_view key,
                   std::span<const std::span<const std::byte>> parts) override;
  Result<void> append(std::string_view key, std::span<const std::byte> bytes) override;
  Result<void> list(std::string_view prefix,
                    const std::function<bool(const storage::ObjectInfo&)>& visit) override;
  Result<void> remove(std::string_view key) override;
  // The files' store hears of the records that the pictures lie in.
  void will_need(std::span<const std::string> keys) override;

 private:
  std::string_view name_of(uint32_t image) const { return dataset_.images()[image].file_name; }
  storage::ObjectRange frame_of(const RecordPlace& place) const;
  // nullptr: none of that name.
  const RecordPlace* find(std::string_view key) const;
  Result<const RecordPlace*> place_of(std::string_view key) const;
  storage::ObjectInfo info(std::string_view name, const RecordPlace& place) const;
  tl::unexpected<Error> read_only(std::string_view what, std::string_view key) const;

  const std::unique_ptr<storage::ObjectStore> files_;
  const std::vector<storage::ObjectInfo> shards_;
  const CocoDataset dataset_;
  const RecordTable table_;
};

// Whether every place lies within its shard: what a table out of a file does not promise.
bool fits_shards(const RecordTable& table, std::span<const storage::ObjectInfo> shards);

}  // namespace atl::dataset
