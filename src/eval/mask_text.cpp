#include "eval/mask_text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace atl::eval::internal {
namespace {

constexpr uint8_t kFirstCharacter = '0';
constexpr uint8_t kMore = 0x20;  // another character of the same number follows
constexpr size_t kBlock = 64;
// As in rle_string.cpp: 35 bits hold every difference of two uint32 and its sign.
constexpr size_t kMaxCharacters = 7;
// A number is loaded as the 8 bytes that end with it.
constexpr size_t kBefore = 8;
// A count is written together with the one before it.
constexpr size_t kBeforeCounts = 1;

struct BlockBits {
  uint64_t ends;  // bit i: character i is the last of its number
  bool valid;     // all are '0' to 'o'
};

#if defined(__SSE2__)
BlockBits read_block(const char* text, uint8_t* values) {
  constexpr size_t kLane = sizeof(__m128i);
  const __m128i first = _mm_set1_epi8(kFirstCharacter);
  __m128i seen = _mm_setzero_si128();
  uint64_t more = 0;
  for (size_t i = 0; i < kBlock; i += kLane) {
    const __m128i value =
        _mm_sub_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(text + i)), first);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values + i), value);
    seen = _mm_or_si128(seen, value);
    // Bit 5 becomes the sign, which movemask collects.
    more |=
        static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(_mm_slli_epi16(value, 2))))
        << i;
  }
  const __m128i high = _mm_and_si128(seen, _mm_set1_epi8(static_cast<char>(0xc0)));
  const bool valid = _mm_movemask_epi8(_mm_cmpeq_epi8(high, _mm_setzero_si128())) == 0xffff;
  return {~more, valid};
}
#else
BlockBits read_block(const char* text, uint8_t* values) {
  uint8_t seen = 0;
  uint64_t ends = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const auto value = static_cast<uint8_t>(static_cast<uint8_t>(text[i]) - kFirstCharacter);
    values[i] = value;
    seen |= value;
    ends |= uint64_t{(value & kMore) == 0} << i;
  }
  return {ends, (seen & 0xc0) == 0};
}
#endif

// The number that the `length` characters up to `last` stand for: 5 bits each, least significant
// first, in two's complement.
int64_t number_ending_at(const uint8_t* last, size_t length) {
  uint64_t bits = 0;
  std::memcpy(&bits, last + 1 - sizeof bits, sizeof bits);
  if constexpr (std::endian::native == std::endian::big) bits = __builtin_bswap64(bits);
  bits = (bits >> (8 * (sizeof bits - length))) & 0x1f1f1f1f1f1f1f1f;
  // Two fives become a ten, two tens a twenty, two twenties forty.
  bits = (bits & 0x001f001f001f001f) | ((bits >> 3) & 0x03e003e003e003e0);
  bits = (bits & 0x000003ff000003ff) | ((bits >> 6) & 0x000ffc00000ffc00);
  bits = (bits & 0x00000000000fffff) | ((bits >> 12) & 0x000000fffff00000);
  const size_t unused = 64 - 5 * length;
  return static_cast<int64_t>(bits << unused) >> unused;
}

constexpr size_t kFour = 4;
// Up to here a count that does not fit 31 bits is one too many, so signed sums show it.
constexpr uint64_t kMaxPixelsByFour = 0x7fffffff;

// Numbers of one character each, which is what most of a mask's are: the counts that the first four
// of `values` make of the two counts before `counts`. The caller takes as many as there are.
#if defined(__SSE2__)
void add_four(const uint8_t* values, uint32_t* counts) {
  int32_t four = 0;
  std::memcpy(&four, values, sizeof four);
  const __m128i zero = _mm_setzero_si128();
  const __m128i sign = _mm_set1_epi32(0x10);
  __m128i sums = _mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero), zero);
  sums = _mm_sub_epi32(_mm_xor_si128(sums, sign), sign);
  sums = _mm_add_epi32(sums, _mm_slli_si128(sums, 8));
  const __m128i two = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(counts - 2));
  sums = _mm_add_epi32(sums, _mm_unpacklo_epi64(two, two));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(counts), sums);
}
#else
void add_four(const uint8_t* values, uint32_t* counts) {
  for (size_t i = 0; i < kFour; ++i) {
    const uint32_t value = values[i] & 0x1fU;
    counts[i] = *(counts + i - 2) + ((value ^ 0x10U) - 0x10U);
  }
}
#endif

constexpr size_t kNotValid = ~size_t{0};

// Whether the counts are those of so many pixels.
bool make(uint64_t pixels, std::span<const uint32_t> counts) {
  uint64_t sum = 0;
  uint32_t seen = 0;
  for (const uint32_t count : counts) {
    sum += count;
    seen |= count;
  }
  return sum == pixels && (pixels > kMaxPixelsByFour || seen >> 31 == 0);
}

// How many counts the characters make, or kNotValid. `values` has kBefore bytes before it and kFour
// behind it, `counts` room for one before it and for kFour more than there are characters.
size_t decode(const uint8_t* values,
              const uint64_t* ends_of_blocks,
              size_t length,
              uint64_t pixels,
              uint32_t* counts) {
  size_t count = 0;
  size_t begin = 0;
  uint64_t too_large = 0;  // what is left of a count above its 32 bits, also where it is negative
  const bool fours = pixels <= kMaxPixelsByFour;
  for (size_t block = 0; block * kBlock < length; ++block) {
    for (uint64_t ends = ends_of_blocks[block]; ends != 0;) {
      const auto bit = static_cast<size_t>(std::countr_zero(ends));
      const size_t end = block * kBlock + bit;
      if (begin == end && count > 2 && fours) {
        const size_t singles = std::min(kFour, static_cast<size_t>(std::countr_one(ends >> bit)));
        add_four(values + begin, counts + count);
        count += singles;
        begin += singles;
        ends &= ~(((uint64_t{1} << singles) - 1) << bit);
        continue;
      }
      ends &= ends - 1;
      const size_t characters = end + 1 - begin;
      if (characters > kMaxCharacters) return kNotValid;
      int64_t value = number_ending_at(values + end, characters);
      if (count > 2) value += counts[count - 2];
      too_large |= static_cast<uint64_t>(value) >> 32;
      // Together with the one before it, so that add_four can load both at once from one store.
      const std::array<uint32_t, 2> two = {*(counts + count - 1), static_cast<uint32_t>(value)};
      std::memcpy(counts + count - 1, two.data(), sizeof two);
      ++count;
      begin = end + 1;
    }
  }
  const bool valid = too_large == 0 && begin == length && make(pixels, {counts, count});
  return valid ? count : kNotValid;
}

// JSON's text without its escapes; false where one is another than "\\".
bool unescape(std::string_view text, std::vector<char>& out) {
  out.resize(text.size());
  char* to = out.data();
  while (!text.empty()) {
    const size_t plain = std::min(text.find('\\'), text.size());
    std::memcpy(to, text.data(), plain);
    to += plain;
    text.remove_prefix(plain);
    if (text.empty()) break;
    if (text.size() < 2 || text[1] != '\\') return false;
    *to++ = '\\';
    text.remove_prefix(2);
  }
  out.resize(static_cast<size_t>(to - out.data()));
  return true;
}

}  // namespace

MaskExtent mask_extent(std::span<const uint32_t> counts, uint32_t height, uint32_t width) {
  // Everything fits 32 bits: the counts sum to height * width.
  uint32_t area = 0;
  uint32_t first = height * width;
  uint32_t top = height;
  uint32_t bottom = 0;
  uint32_t end = 0;
  uint32_t last_end = 0;
  uint32_t column = 0;  // where the column of the last run begins
  for (size_t i = 1; i < counts.size(); i += 2) {
    const uint32_t begin = end + counts[i - 1];
    end = begin + counts[i];
    if (begin == end) continue;
    area += counts[i];
    first = std::min(first, begin);
    last_end = end;
    // Most runs begin in the column after the last one's.
    if (begin - column >= height) {
      column += height;
      if (begin - column >= height) column = begin / height * height;
    }
    top = std::min(top, begin - column);
    bottom = std::max(bottom, end - column);  // beyond the column's, where the run goes on
    if (end - column > height) top = 0;
  }
  if (area == 0) return {};
  return {area, first / height, top, (last_end - 1) / height + 1, std::min(bottom, height)};
}

void mask_runs(std::span<const uint32_t> counts, std::vector<MaskRun>& runs) {
  runs.resize(counts.size() / 2);
  size_t size = 0;
  uint32_t end = 0;
  for (size_t i = 1; i < counts.size(); i += 2) {
    const uint32_t begin = end + counts[i - 1];
    end = begin + counts[i];
    runs[size] = {begin, end};
    size += begin != end ? 1 : 0;
  }
  runs.resize(size);
}

uint64_t common_pixels(std::span<const MaskRun> a, std::span<const MaskRun> b) {
  uint64_t common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const uint32_t begin = std::max(a[i].begin, b[j].begin);
    const uint32_t end = std::min(a[i].end, b[j].end);
    common += begin < end ? end - begin : 0;
    const bool a_ends_first = a[i].end < b[j].end;
    i += a_ends_first ? 1 : 0;
    j += a_ends_first ? 0 : 1;
  }
  return common;
}

std::optional<std::span<const uint32_t>> MaskTextReader::read(std::string_view text,
                                                              bool escaped,
                                                              uint32_t height,
                                                              uint32_t width) {
  if (!dataset::rle_size_fits(height, width)) return std::nullopt;
  if (escaped) {
    if (!unescape(text, unescaped_)) return std::nullopt;
    text = {unescaped_.data(), unescaped_.size()};
  }
  if (!to_values(text) || !to_counts(text.size(), uint64_t{height} * width)) return std::nullopt;
  return std::span<const uint32_t>(counts_).subspan(kBeforeCounts, count_);
}

bool MaskTextReader::to_values(std::string_view text) {
  const size_t blocks = (text.size() + kBlock - 1) / kBlock;
  const size_t size = kBefore + blocks * kBlock + kFour;
  if (values_.size() < size) values_.resize(size);
  if (ends_.size() < blocks) ends_.resize(blocks);
  bool valid = true;
  size_t at = 0;
  for (; at + kBlock <= text.size(); at += kBlock) {
    const BlockBits bits = read_block(text.data() + at, &values_[kBefore + at]);
    ends_[at / kBlock] = bits.ends;
    valid = valid && bits.valid;
  }
  if (const size_t rest = text.size() - at; rest > 0) {
    std::array<char, kBlock> last;
    last.fill(kFirstCharacter);
    std::memcpy(last.data(), text.data() + at, rest);
    const BlockBits bits = read_block(last.data(), &values_[kBefore + at]);
    ends_[at / kBlock] = bits.ends & ((uint64_t{1} << rest) - 1);
    valid = valid && bits.valid;
  }
  return valid;
}

bool MaskTextReader::to_counts(size_t length, uint64_t pixels) {
  if (counts_.size() < kBeforeCounts + length + kFour) {
    counts_.resize(kBeforeCounts + length + kFour);
  }
  count_ = decode(
      values_.data() + kBefore, ends_.data(), length, pixels, counts_.data() + kBeforeCounts);
  return count_ != kNotValid;
}

}  // namespace atl::eval::internal
