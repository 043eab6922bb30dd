#include "dataset/tfrecord.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/crc32c.h"

namespace atl::dataset {
namespace {

template <typename T>
T load(std::span<const std::byte> from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= std::to_integer<T>(from[i]) << (8 * i);
  return value;
}

template <typename T, typename Container>
void store(Container& into, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    into.push_back(static_cast<typename Container::value_type>((value >> (8 * i)) & 0xff));
  }
}

uint32_t masked_crc(std::span<const std::byte> bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

template <typename Container>
void store_header(Container& into, uint64_t length) {
  std::string bytes;
  store(bytes, length);
  store(into, length);
  store(into, masked_crc(std::as_bytes(std::span(bytes))));
}

// gzip's magic number, and zlib's at its three usual levels: what TensorFlow's own options for
// compressed TFRecords give.
bool looks_compressed(std::span<const std::byte> file) {
  if (file.size() < 2) return false;
  const auto first = std::to_integer<int>(file[0]);
  const auto second = std::to_integer<int>(file[1]);
  if (first == 0x1f && second == 0x8b) return true;
  return first == 0x78 && (second == 0x01 || second == 0x9c || second == 0xda);
}

}  // namespace

Result<uint64_t> tfrecord_data_bytes(std::span<const std::byte> header) {
  ATOLL_CHECK(header.size() == kTfrecordHeaderBytes) << header.size();
  if (masked_crc(header.first(8)) != load<uint32_t>(header.subspan(8))) {
    return fail(ErrorCode::kCorrupt, "the length of a record does not have its checksum");
  }
  return load<uint64_t>(header);
}

std::string frame_tfrecord(std::string_view data) {
  std::string bytes;
  bytes.reserve(kTfrecordHeaderBytes + data.size() + kTfrecordFooterBytes);
  store_header(bytes, data.size());
  bytes += data;
  store(bytes, masked_crc(std::as_bytes(std::span(data))));
  return bytes;
}

void append_tfrecord(std::vector<std::byte>& file, std::span<const std::byte> data) {
  store_header(file, data.size());
  file.insert(file.end(), data.begin(), data.end());
  store(file, masked_crc(data));
}

Result<void> check_tfrecord_data(const TfrecordEntry& entry) {
  const uint32_t found = masked_crc(entry.data);
  if (found == entry.masked_crc) return {};
  return fail(ErrorCode::kCorrupt,
              fmt::format("the data do not have their checksum ({:08x}, recorded is {:08x})",
                          found,
                          entry.masked_crc));
}

tl::unexpected<Error> TfrecordReader::broken(std::string what, std::string hint) {
  ended_ = true;
  lost_bytes_ = file_.size() - at_;
  return fail(ErrorCode::kCorrupt, std::move(what), std::move(hint));
}

Result<std::optional<TfrecordEntry>> TfrecordReader::next() {
  if (ended_ || at_ == file_.size()) return std::nullopt;
  const auto rest = file_.subspan(at_);
  if (rest.size() < kTfrecordHeaderBytes) {
    return broken("the header of a record is cut off", "copy the file again");
  }
  if (masked_crc(rest.first(8)) != load<uint32_t>(rest.subspan(8))) {
    if (offset() == 0 && looks_compressed(rest)) {
      return broken("the file is compressed, which is not read", "decompress it (gzip -d)");
    }
    return broken("the length of a record does not have its checksum",
                  "check that it is a TFRecord file, or copy it again");
  }
  const auto length = load<uint64_t>(rest);
  // In this order: a length near 2^64 must not wrap.
  const uint64_t room = rest.size() - kTfrecordHeaderBytes;
  if (room < kTfrecordFooterBytes || length > room - kTfrecordFooterBytes) {
    return broken(fmt::format("a record of {} bytes is cut off: {} bytes are there",
                              length,
                              room - std::min(room, kTfrecordFooterBytes)),
                  "copy the file again");
  }
  TfrecordEntry entry{.offset = offset(),
                      .data = rest.subspan(kTfrecordHeaderBytes, length),
                      .masked_crc = load<uint32_t>(rest.subspan(kTfrecordHeaderBytes + length))};
  at_ += kTfrecordHeaderBytes + length + kTfrecordFooterBytes;
  return entry;
}

}  // namespace atl::dataset
