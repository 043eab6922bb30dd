// TFRecord files: records one after the other, each
//   u64 length, u32 masked CRC of the length, `length` bytes of data, u32 masked CRC of the data,
// all little-endian; the CRC is CRC-32C, masked as rotate_right(crc, 15) + 0xa282ead8. Source:
// TensorFlow's tfrecord documentation, "TFRecords format details".
//
// There is no file header, no index and no marker to find a record by: the lengths are a chain. A
// damaged length therefore ends the file, damaged data cost one record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::dataset {

inline constexpr uint64_t kTfrecordHeaderBytes = 12;
inline constexpr uint64_t kTfrecordFooterBytes = 4;

// How long the data of the record is, of which these are the first kTfrecordHeaderBytes. kCorrupt where the header does not
// have its CRC.
Result<uint64_t> tfrecord_data_bytes(std::span<const std::byte> header);

// One record, framed.
std::string frame_tfrecord(std::string_view data);
// The same, appended.
void append_tfrecord(std::vector<std::byte>& file, std::span<const std::byte> data);

// A record's place. `data` is as long as the header says; its CRC has not been looked at.
struct TfrecordEntry {
  uint64_t offset = 0;  // of the frame, in the file
  std::span<const std::byte> data;
  uint32_t masked_crc = 0;  // as the file has it
};

// kCorrupt where the data does not have its CRC.
Result<void> check_tfrecord_data(const TfrecordEntry& entry);

// Walks the frames of one file, which it looks into and does not copy. Touches the frames' heads
// and tails only.
class TfrecordReader {
 public:
  // `file` must outlive the reader and what it hands out; `first_offset`: where `file` begins in
  // the whole, for offsets.
  explicit TfrecordReader(std::span<const std::byte> file, uint64_t first_offset = 0)
      : file_(file), first_offset_(first_offset) {}

  // The next record, nullopt at the end. kCorrupt where the chain breaks: a header that is cut off
  // or does not have its CRC, or data that go on behind the end. The message names what is wrong,
  // not the file; everything from offset() on is lost, and the next call is at the end.
  Result<std::optional<TfrecordEntry>> next();

  // Behind the last record that next() gave, or where the chain broke.
  uint64_t offset() const { return first_offset_ + at_; }
  // What lies behind a break.
  uint64_t lost_bytes() const { return lost_bytes_; }

 private:
  tl::unexpected<Error> broken(std::string what, std::string hint = {});

  std::span<const std::byte> file_;
  uint64_t first_offset_;
  uint64_t at_ = 0;
  uint64_t lost_bytes_ = 0;
  bool ended_ = false;
};

}  // namespace atl::dataset
