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

// Four numbers of one character each, which is what most of a mask's are: the counts that they make
// of the two before, and what these are then. Not 0: one is negative.
#if defined(__SSE2__)
uint64_t add_four(const uint8_t* values, uint32_t* counts, uint32_t& before, uint32_t& last) {
  int32_t four = 0;
  std::memcpy(&four, values, sizeof four);
  const __m128i zero = _mm_setzero_si128();
  const __m128i sign = _mm_set1_epi32(0x10);
  __m128i sums = _mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero), zero);
  sums = _mm_sub_epi32(_mm_xor_si128(sums, sign), sign);
  sums = _mm_add_epi32(sums, _mm_slli_si128(sums, 8));
  const auto two = static_cast<int64_t>(uint64_t{last} << 32 | before);
  sums = _mm_add_epi32(sums, _mm_set1_epi64x(two));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(counts), sums);
  const auto ends = static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(sums, sums)));
  before = static_cast<uint32_t>(ends);
  last = static_cast<uint32_t>(ends >> 32);
  return static_cast<uint64_t>(_mm_movemask_epi8(_mm_srai_epi32(sums, 31)));
}
#else
uint64_t add_four(const uint8_t* values, uint32_t* counts, uint32_t& before, uint32_t& last) {
  uint64_t negative = 0;
  for (size_t i = 0; i < kFour; ++i) {
    counts[i] = before + static_cast<uint32_t>((values[i] ^ 0x10) - 0x10);
    negative |= counts[i] >> 31;
    before = last;
    last = counts[i];
  }
  return negative;
}
#endif

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
  MaskExtent extent;
  uint32_t top = height;
  uint32_t bottom = 0;
  uint64_t first = uint64_t{height} * width;
  uint64_t end = 0;
  uint64_t column = 0;  // where the column of the last run begins
  for (size_t i = 1; i < counts.size(); i += 2) {
    const uint64_t begin = end + counts[i - 1];
    end = begin + counts[i];
    if (begin == end) continue;
    extent.area += counts[i];
    first = std::min(first, begin);
    // Most runs begin in the column after the last one's.
    if (begin - column >= height) {
      column += height;
      if (begin - column >= height) column = begin / height * height;
    }
    top = std::min(top, static_cast<uint32_t>(begin - column));
    if (end - column <= height) {
      bottom = std::max(bottom, static_cast<uint32_t>(end - column));
    } else {  // through the bottom of one column and the top of the next
      top = 0;
      bottom = height;
    }
    extent.right = static_cast<uint32_t>(end);  // of the last run, for now
  }
  if (extent.area == 0) return {};
  extent.left = static_cast<uint32_t>(first / height);
  extent.right = (extent.right - 1) / height + 1;
  extent.top = top;
  extent.bottom = bottom;
  return extent;
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
  return std::span<const uint32_t>(counts_).first(count_);
}

bool MaskTextReader::to_values(std::string_view text) {
  const size_t blocks = (text.size() + kBlock - 1) / kBlock;
  if (values_.size() < kBefore + blocks * kBlock) values_.resize(kBefore + blocks * kBlock);
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
  if (counts_.size() < length + kFour) counts_.resize(length + kFour);
  const uint8_t* values = values_.data() + kBefore;
  uint32_t* counts = counts_.data();
  size_t count = 0;
  size_t begin = 0;
  uint32_t before = 0;     // the count two before the next one, which is its difference to it
  uint32_t last = 0;       // the one right before
  uint64_t too_large = 0;  // what is left of a count above its 32 bits, also where it is negative
  bool too_long = false;
  const bool fours = pixels <= kMaxPixelsByFour;
  for (size_t block = 0; block * kBlock < length; ++block) {
    for (uint64_t ends = ends_[block]; ends != 0;) {
      const auto bit = static_cast<size_t>(std::countr_zero(ends));
      const size_t end = block * kBlock + bit;
      if (fours && count > 2 && begin == end && ((ends >> bit) & 0xf) == 0xf) {
        too_large |= add_four(values + begin, counts + count, before, last);
        count += kFour;
        begin += kFour;
        ends &= ~(uint64_t{0xf} << bit);
        continue;
      }
      ends &= ends - 1;
      const size_t characters = end + 1 - begin;
      too_long = too_long || characters > kMaxCharacters;
      int64_t value = number_ending_at(values + end, std::min(characters, kMaxCharacters));
      if (count > 2) value += before;
      too_large |= static_cast<uint64_t>(value) >> 32;
      before = last;
      last = static_cast<uint32_t>(value);
      counts[count++] = last;
      begin = end + 1;
    }
  }
  count_ = count;
  if (too_long || too_large != 0 || begin != length) return false;
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += counts[i];
  return sum == pixels;
}

}  // namespace atl::eval::internal
