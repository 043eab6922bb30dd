#include "sagemaker/record_io.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace atl::sagemaker {
namespace {

constexpr std::array<std::byte, 4> kMagic = {
    std::byte{0x0a}, std::byte{0x23}, std::byte{0xd7}, std::byte{0xce}};
constexpr size_t kHeaderBytes = 8;
constexpr int kLengthBits = 29;
constexpr uint32_t kWhole = 0, kFirst = 1, kLast = 3;

uint32_t number_at(std::span<const std::byte> bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= std::to_integer<uint32_t>(bytes[at + i]) << (8 * i);
  return value;
}

}  // namespace

Result<void> RecordIoDecoder::read_header() {
  const uint64_t begin = offset_ - kHeaderBytes;
  if (!std::equal(kMagic.begin(), kMagic.end(), header_.begin())) {
    return fail(ErrorCode::kCorrupt, fmt::format("no RecordIO record begins at byte {}", begin));
  }
  const uint32_t word = number_at(header_, kMagic.size());
  part_ = word >> kLengthBits;
  data_left_ = word & ((1U << kLengthBits) - 1);
  padding_left_ = (4 - data_left_ % 4) % 4;
  const bool begins = part_ == kWhole || part_ == kFirst;
  if (part_ > kLast || begins == within_) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("the RecordIO record at byte {} is a part in the wrong place", begin));
  }
  magic_due_ = within_;
  within_ = part_ != kWhole && part_ != kLast;
  header_.clear();
  return {};
}

Result<void> RecordIoDecoder::add(std::span<const std::byte> bytes, const Sink& sink) {
  const auto take = [&](size_t wanted) {
    const auto taken = bytes.first(std::min(wanted, bytes.size()));
    bytes = bytes.subspan(taken.size());
    offset_ += taken.size();
    return taken;
  };
  while (!bytes.empty()) {
    if (data_left_ > 0) {
      const auto data = take(data_left_);
      data_left_ -= static_cast<uint32_t>(data.size());
      ATOLL_TRY(sink(data));
    } else if (padding_left_ > 0) {
      padding_left_ -= static_cast<uint32_t>(take(padding_left_).size());
    } else {
      const auto more = take(kHeaderBytes - header_.size());
      header_.insert(header_.end(), more.begin(), more.end());
      if (header_.size() < kHeaderBytes) continue;
      ATOLL_TRY(read_header());
      if (magic_due_) ATOLL_TRY(sink(kMagic));
    }
  }
  return {};
}

Result<void> RecordIoDecoder::finish() const {
  if (header_.empty() && data_left_ == 0 && padding_left_ == 0 && !within_) return {};
  return fail(ErrorCode::kCorrupt,
              fmt::format("the stream ends within a record, at byte {}", offset_));
}

}  // namespace atl::sagemaker
