// See the header. Compiled several times: nothing here may be shared with other files, so no
// standard containers and no inline functions from headers but intrinsics (cmake/Kernels.cmake).
#include "dataset/coco_json_kernel.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace atl::dataset::ATOLL_KERNEL {
namespace {

constexpr int kDecimals = 2;
constexpr int kMaxWholeDigits = 6;

#if defined(__AVX2__)

constexpr int64_t kBlock = 64;
// Positions collected before the numbers are made of them.
constexpr size_t kPortion = 512;

struct Masks {
  uint64_t comma;
  uint64_t space;
  uint64_t bracket;
};

#if defined(__AVX512BW__)
Masks classify(const char* block) {
  const __m512i bytes = _mm512_loadu_si512(block);
  return {_mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(',')),
          _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(' ')),
          _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(']'))};
}
#else
uint64_t equal(__m256i low, __m256i high, char wanted) {
  const __m256i all = _mm256_set1_epi8(wanted);
  const auto bits = [&](__m256i bytes) {
    return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, all)));
  };
  return bits(low) | static_cast<uint64_t>(bits(high)) << 32;
}
Masks classify(const char* block) {
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 32));
  return {equal(low, high, ','), equal(low, high, ' '), equal(low, high, ']')};
}
#endif

// What to do with a number of this length and place of the point.
struct Form {
  alignas(16) uint8_t shuffle[16];  // right-aligned text -> six whole digits, two decimals
  int32_t least;                    // a smaller value has a leading zero, or the form is none
};

struct Forms {
  Form of[64];
};

// Index: length (15: or more) | 16 if the last but one byte is a point | 32 if the one before it is.
constexpr Forms make_forms() {
  Forms forms{};
  for (int index = 0; index < 64; ++index) {
    Form& form = forms.of[index];
    for (uint8_t& source : form.shuffle) source = 0x80;
    form.least = INT32_MAX;
    const int length = index & 15;
    const int point = index >> 4;
    const int decimals = point == 3 ? -1 : point;
    const int whole = decimals == 0 ? length : length - decimals - 1;
    if (decimals < 0 || whole < 1 || whole > kMaxWholeDigits) continue;
    for (int i = 0; i < whole; ++i) {
      form.shuffle[kMaxWholeDigits - whole + i] = static_cast<uint8_t>(16 - length + i);
    }
    for (int i = 0; i < decimals; ++i) {
      form.shuffle[kMaxWholeDigits + i] = static_cast<uint8_t>(16 - decimals + i);
    }
    form.least = 0;
    if (whole > 1) {
      form.least = 100;
      for (int i = 1; i < whole; ++i) form.least *= 10;
    }
  }
  return forms;
}

constexpr Forms kForms = make_forms();

// The list's structure: where the numbers end.
class EndFinder {
 public:
  EndFinder(const char* begin, const char* limit) : begin_(begin), block_(begin), limit_(limit) {}

  // The distance of a number from the end of the one before it; 0: not a list for us.
  uint32_t find_gap() {
    if (limit_ - block_ < kBlock) return 0;
    const Masks masks = classify(block_);
    const uint64_t before_bracket = masks.bracket == 0 ? ~0ULL : _blsmsk_u64(masks.bracket);
    const auto first = static_cast<int64_t>(_tzcnt_u64(masks.comma & before_bracket));
    if (first >= kBlock - 1) return 0;
    gap_ = block_[first + 1] == ' ' ? 2 : 1;
    return gap_;
  }

  // Appends positions (from begin) of ends until there are kPortion or the list is over. False: it
  // has another form.
  bool collect(uint32_t* ends, size_t& count) {
    while (count < kPortion && !closed_) {
      if (limit_ - block_ < kBlock) return false;
      const Masks masks = classify(block_);
      uint64_t inside = ~0ULL;
      uint64_t stop = 0;
      if (masks.bracket != 0) {
        stop = _blsi_u64(masks.bracket);
        inside = stop - 1;
        closed_ = true;
      }
      const uint64_t comma = masks.comma & inside;
      const uint64_t space = masks.space & inside;
      const uint64_t number = ~(masks.comma | masks.space) & inside;
      const uint64_t after_number = number << 1 | number_before_;
      const uint64_t after_comma = comma << 1 | comma_before_;
      uint64_t terminator = comma | stop;
      // A comma or the bracket comes after a number only, a space after every comma or after none.
      if ((terminator & ~after_number) != 0) return false;
      if (space != (gap_ == 2 ? after_comma & inside : 0)) return false;
      number_before_ = number >> 63;
      comma_before_ = comma >> 63;
      count += store_positions(terminator, ends + count);
      block_ += kBlock;
    }
    return true;
  }

  bool closed() const { return closed_; }

 private:
  // A fixed number of steps costs less than a loop whose length nobody can predict.
  size_t store_positions(uint64_t bits, uint32_t* out) const {
    const auto base = static_cast<uint32_t>(block_ - begin_);
    const auto count = static_cast<size_t>(_mm_popcnt_u64(bits));
    for (int i = 0; i < 8; ++i, bits = _blsr_u64(bits)) {
      out[i] = base + static_cast<uint32_t>(_tzcnt_u64(bits));
    }
    if (count > 8) {
      for (int i = 8; i < 16; ++i, bits = _blsr_u64(bits)) {
        out[i] = base + static_cast<uint32_t>(_tzcnt_u64(bits));
      }
    }
    for (size_t i = 16; i < count; ++i, bits = _blsr_u64(bits)) {
      out[i] = base + static_cast<uint32_t>(_tzcnt_u64(bits));
    }
    return count;
  }

  const char* begin_;
  const char* block_;
  const char* limit_;
  uint32_t gap_ = 0;
  uint64_t number_before_ = 0;  // bit 0: the byte before the block belongs to a number
  uint64_t comma_before_ = 0;
  bool closed_ = false;
};

// Turns ends into numbers.
class NumberMaker {
 public:
  NumberMaker(const char* begin, uint32_t gap) : begin_(begin), gap_(gap), last_end_(0 - gap) {}

  void make(const uint32_t* ends, size_t count, uint16_t* narrow, int32_t* wide) {
    const __m128i zero_digit = _mm_set1_epi8('0');
    const __m128i tens = _mm_set1_epi16(0x010a);
    const __m128i hundreds = _mm_set1_epi32(0x00010064);
    const __m128i ten_thousands = _mm_set1_epi32(0x00012710);
    const __m128i nine = _mm_set1_epi8(9);
    for (size_t i = 0; i < count; ++i) {
      const char* end = begin_ + ends[i];
      const uint32_t length = ends[i] - last_end_ - gap_;
      last_end_ = ends[i];
      const uint32_t index =
          (length < 15 ? length : 15) | (end[-2] == '.' ? 16U : 0U) | (end[-3] == '.' ? 32U : 0U);
      const Form& form = kForms.of[index];
      __m128i digits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(end - 16));
      digits = _mm_shuffle_epi8(_mm_sub_epi8(digits, zero_digit),
                                _mm_load_si128(reinterpret_cast<const __m128i*>(form.shuffle)));
      beyond_nine_ = _mm_or_si128(beyond_nine_, _mm_subs_epu8(digits, nine));
      const __m128i pairs = _mm_maddubs_epi16(digits, tens);
      const __m128i fours = _mm_madd_epi16(pairs, hundreds);
      const __m128i eight = _mm_madd_epi16(_mm_packus_epi32(fours, fours), ten_thousands);
      const int32_t value = _mm_cvtsi128_si32(eight);
      bad_ |= value - form.least;
      bits_ |= value;
      narrow[i] = static_cast<uint16_t>(value);
      wide[i] = value;
    }
  }

  bool good() const { return bad_ >= 0 && _mm_testz_si128(beyond_nine_, beyond_nine_) != 0; }
  bool narrow() const { return bits_ <= 0xffff; }

 private:
  const char* begin_;
  uint32_t gap_;
  uint32_t last_end_;
  __m128i beyond_nine_ = _mm_setzero_si128();
  int32_t bad_ = 0;   // negative: a value was below its form's least
  int32_t bits_ = 0;  // of all values
};

#else  // without AVX2: byte by byte

// The number at `at`, times 100; moves `at` behind it. -1: another form.
int32_t read_one(const char*& at, const char* limit) {
  const auto is_digit = [&] { return at < limit && *at >= '0' && *at <= '9'; };
  const char* begin = at;
  int32_t value = 0;
  for (; is_digit(); ++at) {
    if (at - begin == kMaxWholeDigits) return -1;
    value = value * 10 + (*at - '0');
  }
  if (at == begin || (at - begin > 1 && *begin == '0')) return -1;
  int decimals = 0;
  if (at < limit && *at == '.') {
    for (++at; is_digit(); ++at, ++decimals) {
      if (decimals == kDecimals) return -1;
      value = value * 10 + (*at - '0');
    }
    if (decimals == 0) return -1;
  }
  for (; decimals < kDecimals; ++decimals) value *= 10;
  return value;
}

#endif

}  // namespace

#if defined(__AVX2__)

HundredthsList read_hundredths(const char* begin,
                               const char* limit,
                               uint16_t* narrow,
                               int32_t* wide) {
  uint32_t ends[kPortion + 64];
  EndFinder finder(begin, limit);
  const uint32_t gap = finder.find_gap();
  if (gap == 0) return {};
  NumberMaker maker(begin, gap);
  size_t total = 0;
  for (;;) {
    size_t count = 0;
    if (!finder.collect(ends, count) || total + count > kMaxListNumbers) return {};
    maker.make(ends, count, narrow + total, wide + total);
    total += count;
    if (!finder.closed()) continue;
    if (!maker.good()) return {};
    return {begin + ends[count - 1], total, maker.narrow()};
  }
}

#else

HundredthsList read_hundredths(const char* begin,
                               const char* limit,
                               uint16_t* narrow,
                               int32_t* wide) {
  size_t count = 0;
  int32_t bits = 0;
  const char* at = begin;
  int gap = 0;
  for (;;) {
    const int32_t value = read_one(at, limit);
    if (value < 0 || count == kMaxListNumbers || at == limit) return {};
    narrow[count] = static_cast<uint16_t>(value);
    wide[count++] = value;
    bits |= value;
    if (*at == ']') break;
    if (*at != ',' || limit - at < 2) return {};
    const int found_gap = at[1] == ' ' ? 2 : 1;
    if (gap == 0) gap = found_gap;
    if (gap != found_gap) return {};
    at += gap;
  }
  if (count < 2) return {};
  return {at, count, bits <= 0xffff};
}

#endif

}  // namespace atl::dataset::ATOLL_KERNEL
