// The pictures inside TFRecords as an object store: a key is an image's name, its object the bytes
// of image/encoded. Everything that reads a dataset's pictures (loader, evaluation, validation)
// goes through an ObjectStore and so reads them where they lie. Read-only.
//
// A get() reads the whole record from the files' store, for its checksum is over all of it, and
// hands out a view into that. kCorrupt names the file and the record's offset.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/storage.h"

namespace atl::dataset {

class TfrecordStore : public storage::ObjectStore {
 public:
  // Where a picture lies.
  struct Place {
    uint32_t shard = 0;
    uint64_t offset = 0;          // of the record's frame, in the shard
    uint64_t data_bytes = 0;      // of the record's data
    uint64_t encoded_offset = 0;  // in the data
    uint64_t encoded_bytes = 0;
  };

  // `files` holds the shards.
  TfrecordStore(std::unique_ptr<storage::ObjectStore> files,
                std::vector<storage::ObjectInfo> shards)
      : files_(std::move(files)), shards_(std::move(shards)) {}

  // False where the name is taken. Not thread safe, unlike the rest; before the first use.
  bool add(std::string name, const Place& place);

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
  storage::ObjectRange frame_of(const Place& place) const;
  Result<const Place*> place_of(std::string_view key) const;
  storage::ObjectInfo info(const std::string& name, const Place& place) const;
  tl::unexpected<Error> read_only(std::string_view what, std::string_view key) const;

  const std::unique_ptr<storage::ObjectStore> files_;
  const std::vector<storage::ObjectInfo> shards_;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace atl::dataset
