// The innermost loop of reading COCO: lists of decimals with at most two places, such as
// "[510.66, 423.01, 511.72]". Nine tenths of a COCO file are such lists.
//
// The file is compiled once for each instruction set (atoll_kernels in cmake/Kernels.cmake), the
// best that the processor has is chosen at run time. All give the same answers.
//
// How: the list is cut into blocks of 64 bytes. Compares give a bit for each comma, space and
// bracket; a few operations on the bits show that the block holds nothing but "number, number,"
// in one style. Then each number, found by its end, is loaded right-aligned, its point dropped and
// its digits put in their places by one shuffle, whose mask depends on the length and on where the
// point is. No branch depends on a number's form.
#pragma once

#include <cstddef>
#include <cstdint>

namespace atl::dataset {

struct HundredthsList {
  const char* end = nullptr;  // at the ']'; nullptr: the list has another form, or is too long
  size_t count = 0;
  bool narrow = false;  // every number fits 16 bits
};

// `begin` follows the '['; at least 16 bytes before it and none from `limit` on are read. The
// numbers, times 100, go to both outputs (to `narrow` cut to 16 bits), which hold kMaxListNumbers
// and 64 more. Lists with signs, exponents, more decimals, more than 6 digits before the point,
// mixed or other spacing, or only one number are left to the caller, and so is the end of the text.
using ReadHundredths = HundredthsList (*)(const char* begin,
                                          const char* limit,
                                          uint16_t* narrow,
                                          int32_t* wide);

inline constexpr size_t kMaxListNumbers = 8192;

namespace baseline {
HundredthsList read_hundredths(const char*, const char*, uint16_t*, int32_t*);
}
#if defined(__x86_64__)
namespace avx2 {
HundredthsList read_hundredths(const char*, const char*, uint16_t*, int32_t*);
}
namespace avx512 {
HundredthsList read_hundredths(const char*, const char*, uint16_t*, int32_t*);
}
#endif

}  // namespace atl::dataset
