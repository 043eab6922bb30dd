#include "dataset/tfrecord_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "dataset/tfrecord.h"
#include "storage/key.h"

namespace atl::dataset {

bool TfrecordStore::add(std::string name, const Place& place) {
  return places_.emplace(std::move(name), place).second;
}

std::string TfrecordStore::uri() const { return "tfrecord:" + files_->uri(); }

Result<const TfrecordStore::Place*> TfrecordStore::place_of(std::string_view key) const {
  ATOLL_TRY_CONTEXT(storage::check_key(key), uri());
  const auto found = places_.find(key);
  if (found != places_.end()) return &found->second;
  return fail(ErrorCode::kNotFound, fmt::format("{}: no record of {}", uri(), key));
}

storage::ObjectInfo TfrecordStore::info(const std::string& name, const Place& place) const {
  const auto& shard = shards_[place.shard];
  return {
      name, place.encoded_bytes, shard.modified, fmt::format("{}-{:x}", shard.etag, place.offset)};
}

Result<storage::ObjectInfo> TfrecordStore::head(std::string_view key) {
  const Place* place = ATOLL_TRY(place_of(key));
  return info(std::string(key), *place);
}

storage::ObjectRange TfrecordStore::frame_of(const Place& place) const {
  return {shards_[place.shard].key,
          place.offset,
          kTfrecordHeaderBytes + place.data_bytes + kTfrecordFooterBytes};
}

Result<storage::Blob> TfrecordStore::get(std::string_view key) {
  const Place& place = *ATOLL_TRY(place_of(key));
  const storage::ObjectRange range = frame_of(place);
  const auto frame = ATOLL_TRY(files_->get_range(range.key, range.offset, range.size_bytes));
  const auto where = [&] {
    return fmt::format("{}/{}: the record at byte {} ({})", uri(), range.key, place.offset, key);
  };
  TfrecordReader reader(frame.bytes(), place.offset);
  const auto entry = ATOLL_TRY_CONTEXT(reader.next(), where());
  if (!entry || entry->data.size() != place.data_bytes) {
    return fail(ErrorCode::kCorrupt,
                where() + " is no longer what it was when the records were looked over",
                "something has written to the file; start again when that is done");
  }
  ATOLL_TRY_CONTEXT(check_tfrecord_data(*entry), where());
  return storage::Blob(std::make_shared<storage::Blob>(frame),
                       entry->data.subspan(place.encoded_offset, place.encoded_bytes));
}

Result<storage::Blob> TfrecordStore::get_range(std::string_view key,
                                               uint64_t offset,
                                               uint64_t size_bytes) {
  const auto whole = ATOLL_TRY(get(key));
  const uint64_t begin = std::min<uint64_t>(offset, whole.size());
  const uint64_t size = std::min<uint64_t>(size_bytes, whole.size() - begin);
  return storage::Blob(std::make_shared<storage::Blob>(whole), whole.bytes().subspan(begin, size));
}

Result<void> TfrecordStore::list(std::string_view prefix,
                                 const std::function<bool(const storage::ObjectInfo&)>& visit) {
  ATOLL_TRY_CONTEXT(storage::check_prefix(prefix), uri());
  for (auto at = places_.lower_bound(prefix);
       at != places_.end() && std::string_view(at->first).starts_with(prefix);
       ++at) {
    if (!visit(info(at->first, at->second))) break;
  }
  return {};
}

tl::unexpected<Error> TfrecordStore::read_only(std::string_view what, std::string_view key) const {
  return fail(ErrorCode::kUnsupported,
              fmt::format("{} {} in {}: TFRecords are not changed in place", what, key, uri()),
              "name a directory to write to");
}

Result<void> TfrecordStore::put(std::string_view key, std::span<const std::span<const std::byte>>) {
  return read_only("writing", key);
}
Result<void> TfrecordStore::append(std::string_view key, std::span<const std::byte>) {
  return read_only("writing", key);
}
Result<void> TfrecordStore::remove(std::string_view key) { return read_only("removing", key); }

void TfrecordStore::will_need(std::span<const std::string> keys) {
  std::vector<storage::ObjectRange> frames;
  frames.reserve(keys.size());
  for (const std::string& key : keys) {
    const auto place = places_.find(key);  // whoever reads another name is told so then
    if (place != places_.end()) frames.push_back(frame_of(place->second));
  }
  files_->will_need_ranges(frames);
}

}  // namespace atl::dataset
