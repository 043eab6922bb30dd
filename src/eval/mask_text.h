// COCO's compressed masks, read fast; internal to this room.
//
// dataset/rle.h says what the text means, and reads it one character after the other, with an error
// for each thing that can be wrong. Half a million masks are read here: the same text, the same
// judgement of what is valid, but "no" instead of a reason, and no vector for each mask. The text is
// turned into 6-bit values 64 characters at a time, with a bit for each that ends a number; then the
// numbers are taken out one by one, without a branch on how many characters each has.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dataset/rle.h"

namespace atl::eval::internal {

// The foreground's pixels and its tight box: columns [left, right), rows [top, bottom); all 0 for a
// mask without any.
struct MaskExtent {
  uint32_t area = 0;
  uint32_t left = 0;
  uint32_t top = 0;
  uint32_t right = 0;
  uint32_t bottom = 0;
  friend bool operator==(const MaskExtent&, const MaskExtent&) = default;
};

// Of counts that sum to height * width.
MaskExtent mask_extent(std::span<const uint32_t> counts, uint32_t height, uint32_t width);

// A stretch of foreground, [begin, end), column-major.
struct MaskRun {
  uint32_t begin;
  uint32_t end;
};

// The foreground of counts that sum to less than 2^32; empty runs are left out.
void mask_runs(std::span<const uint32_t> counts, std::vector<MaskRun>& runs);

// Pixels in both.
uint64_t common_pixels(std::span<const MaskRun> a, std::span<const MaskRun> b);

// Reads masks; keeps its buffers, so one for each thread.
class MaskTextReader {
 public:
  // The counts, valid until the next call; nullopt where rle_from_string gives an error. Escaped:
  // JSON's "\\" stands for a backslash (any other use of one is refused).
  std::optional<std::span<const uint32_t>> read(std::string_view text,
                                                bool escaped,
                                                uint32_t height,
                                                uint32_t width);

 private:
  bool to_values(std::string_view text);
  bool to_counts(size_t length, uint64_t pixels);

  std::vector<char> unescaped_;
  std::vector<uint8_t> values_;  // 8 zeros, then 6 bits for each character
  std::vector<uint64_t> ends_;   // bit i of word j: character 64 j + i is a number's last
  std::vector<uint32_t> counts_;
  size_t count_ = 0;
};

}  // namespace atl::eval::internal
