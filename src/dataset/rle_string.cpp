// COCO's ASCII form of run lengths: every number in groups of 5 bits, least significant first, one
// character (48 + bits) each, bit 5 set where more follow, the last group's bit 4 is the sign. From
// the fourth run on a number is the difference to the run two before.
#include <fmt/format.h>

#include "dataset/rle.h"

namespace atl::dataset {
namespace {

constexpr int kFirstCharacter = 48;
constexpr int kLastCharacter = kFirstCharacter + 63;
// Seven groups hold 35 bits: every difference of two uint32 and its sign.
constexpr int kMaxGroups = 7;

Result<void> check_size(uint32_t height, uint32_t width) {
  if (rle_size_fits(height, width)) return {};
  return fail(ErrorCode::kInvalidInput,
              fmt::format("mask of {} x {} pixels: more than 2^32 - 1", height, width));
}

Result<void> check_sum(uint64_t sum, uint32_t height, uint32_t width) {
  if (sum == uint64_t{height} * width) return {};
  return fail(
      ErrorCode::kInvalidInput,
      fmt::format("mask's runs sum to {} pixels, its size {} x {} (height x width) has {}",
                  sum,
                  height,
                  width,
                  uint64_t{height} * width),
      "the mask's size is not that of the image it was made for, or the counts are damaged");
}

}  // namespace

std::string rle_to_string(const Rle& rle) {
  std::string text;
  text.reserve(rle.counts.size() * 2);
  for (size_t i = 0; i < rle.counts.size(); ++i) {
    int64_t value = rle.counts[i];
    if (i > 2) value -= rle.counts[i - 2];
    for (bool more = true; more;) {
      int64_t bits = value & 0x1f;
      value >>= 5;
      more = (bits & 0x10) != 0 ? value != -1 : value != 0;
      if (more) bits |= 0x20;
      text.push_back(static_cast<char>(kFirstCharacter + bits));
    }
  }
  return text;
}

Result<Rle> rle_from_string(std::string_view counts, uint32_t height, uint32_t width) {
  ATOLL_TRY(check_size(height, width));
  Rle rle{height, width, {}};
  rle.counts.reserve(counts.size() / 2 + 1);
  uint64_t sum = 0;
  const auto bad = [](size_t position, std::string_view what) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("mask's counts, character {}: {}", position, what),
                "the counts of a mask are COCO's compressed ASCII form");
  };
  for (size_t at = 0; at < counts.size();) {
    const size_t start = at;
    int64_t value = 0;
    int shift = 0;
    for (bool more = true; more; ++at, shift += 5) {
      if (at == counts.size()) return bad(start, "the text ends inside a number");
      const int character = static_cast<unsigned char>(counts[at]);
      if (character < kFirstCharacter || character > kLastCharacter) {
        return bad(at, "not one of '0' to 'o'");
      }
      if (shift == 5 * kMaxGroups) return bad(start, "a number that is too long");
      const int64_t bits = character - kFirstCharacter;
      value |= (bits & 0x1f) << shift;
      more = (bits & 0x20) != 0;
      if (!more && (bits & 0x10) != 0) value -= int64_t{1} << (shift + 5);
    }
    if (rle.counts.size() > 2) value += rle.counts[rle.counts.size() - 2];
    if (value < 0 || value > int64_t{0xffffffff})
      return bad(start, "a run that is negative or above 2^32 - 1");
    sum += static_cast<uint64_t>(value);
    rle.counts.push_back(static_cast<uint32_t>(value));
  }
  ATOLL_TRY(check_sum(sum, height, width));
  return rle;
}

Result<Rle> rle_from_counts(std::span<const uint32_t> counts, uint32_t height, uint32_t width) {
  ATOLL_TRY(check_size(height, width));
  uint64_t sum = 0;
  for (const uint32_t count : counts) sum += count;
  ATOLL_TRY(check_sum(sum, height, width));
  return Rle{height, width, {counts.begin(), counts.end()}};
}

}  // namespace atl::dataset
