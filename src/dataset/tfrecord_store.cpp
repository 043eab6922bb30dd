#include "dataset/tfrecord_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "dataset/tfrecord.h"
#include "storage/key.h"

namespace atl::dataset {

std::string TfrecordStore::uri() const { return "tfrecord:" + files_->uri(); }

const RecordPlace* TfrecordStore::find(std::string_view key) const {
  const auto by_name = [this](uint32_t image) { return name_of(image); };
  const auto at = std::ranges::lower_bound(table_.by_name, key, {}, by_name);
  if (at == table_.by_name.end() || name_of(*at) != key) return nullptr;
  return &table_.places[*at];
}

Result<const RecordPlace*> TfrecordStore::place_of(std::string_view key) const {
  ATOLL_TRY_CONTEXT(storage::check_key(key), uri());
  if (const RecordPlace* place = find(key)) return place;
  return fail(ErrorCode::kNotFound, fmt::format("{}: no record of {}", uri(), key));
}

storage::ObjectInfo TfrecordStore::info(std::string_view name, const RecordPlace& place) const {
  const auto& shard = shards_[place.shard];
  return {std::string(name),
          place.encoded_bytes,
          shard.modified,
          fmt::format("{}-{:x}", shard.etag, place.offset)};
}

Result<storage::ObjectInfo> TfrecordStore::head(std::string_view key) {
  const RecordPlace* place = ATOLL_TRY(place_of(key));
  return info(key, *place);
}

storage::ObjectRange TfrecordStore::frame_of(const RecordPlace& place) const {
  return {shards_[place.shard].key,
          place.offset,
          kTfrecordHeaderBytes + place.data_bytes + kTfrecordFooterBytes};
}

Result<storage::Blob> TfrecordStore::get(std::string_view key) {
  const RecordPlace& place = *ATOLL_TRY(place_of(key));
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
  const auto by_name = [this](uint32_t image) { return name_of(image); };
  for (auto at = std::ranges::lower_bound(table_.by_name, prefix, {}, by_name);
       at != table_.by_name.end() && name_of(*at).starts_with(prefix);
       ++at) {
    if (!visit(info(name_of(*at), table_.places[*at]))) break;
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
    const RecordPlace* place = find(key);  // whoever reads another name is told so then
    if (place != nullptr) frames.push_back(frame_of(*place));
  }
  files_->will_need_ranges(frames);
}

bool fits_shards(const RecordTable& table, std::span<const storage::ObjectInfo> shards) {
  constexpr uint64_t kFrame = kTfrecordHeaderBytes + kTfrecordFooterBytes;
  return std::ranges::all_of(table.places, [&](const RecordPlace& place) {
    if (place.shard >= shards.size()) return false;
    const uint64_t size = shards[place.shard].size_bytes;
    if (size < kFrame || place.data_bytes > size - kFrame) return false;
    return place.offset <= size - kFrame - place.data_bytes;
  });
}

}  // namespace atl::dataset
