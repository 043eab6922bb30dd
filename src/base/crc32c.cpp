// The instruction takes 8 bytes each cycle, but its result comes three cycles later. So a block is
// cut into three lanes whose CRCs run side by side; the lanes are then joined, for CRCs are linear:
//   crc(abc) = crc(a) x^(bits of b and c) + crc(b) x^(bits of c) + crc(c)   modulo the polynomial.
// The multiplications are one carry-less multiplication each, and the instruction again to reduce.
#include "base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

namespace atl {
namespace {

// Bit 31 is the coefficient of x^0, as everywhere in a reflected CRC.
constexpr uint32_t kPolynomial = 0x82f63b78;

constexpr uint32_t times_x(uint32_t value) {
  return (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
}

using Table = std::array<uint32_t, 256>;

// tables[k][b]: what byte b becomes k bytes further on.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = times_x(crc);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < tables.size(); ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}
constexpr auto kTables = make_tables();

uint64_t load_8(const std::byte* from) {
  uint64_t value = 0;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

namespace internal {

uint32_t crc32c_by_tables(std::span<const std::byte> bytes, uint32_t before) {
  uint32_t crc = ~before;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    uint32_t next = 0;
    for (size_t i = 0; i < 8; ++i) {
      const uint32_t from_crc = i < 4 ? (crc >> (8 * i)) & 0xff : 0;
      next ^= kTables[7 - i][std::to_integer<uint32_t>(bytes[i]) ^ from_crc];
    }
    crc = next;
  }
  for (const std::byte byte : bytes) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ std::to_integer<uint32_t>(byte)) & 0xff];
  }
  return ~crc;
}

#if defined(__x86_64__)

namespace {

// Long enough for the join not to count (1 % of the time), short enough for small records to gain.
constexpr size_t kLaneBytes = 1024;

// x^n modulo the polynomial.
constexpr uint32_t power_of_x(size_t n) {
  uint32_t value = 0x80000000;
  for (; n > 0; --n) value = times_x(value);
  return value;
}
// A carry-less product of two reflected values and the reduction by the instruction multiply by
// x^33 as well, so that much is taken off beforehand.
constexpr uint32_t kOverOneLane = power_of_x(8 * kLaneBytes - 33);
constexpr uint32_t kOverTwoLanes = power_of_x(16 * kLaneBytes - 33);

__attribute__((target("sse4.2,pclmul"))) uint32_t times(uint32_t crc, uint32_t power) {
  const __m128i product = _mm_clmulepi64_si128(
      _mm_cvtsi32_si128(static_cast<int>(crc)), _mm_cvtsi32_si128(static_cast<int>(power)), 0);
  return static_cast<uint32_t>(_mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(product))));
}

}  // namespace

bool crc32c_instruction_is_there() {
  static const bool there =
      __builtin_cpu_supports("sse4.2") != 0 && __builtin_cpu_supports("pclmul") != 0;
  return there;
}

__attribute__((target("sse4.2,pclmul"))) uint32_t crc32c_by_instruction(
    std::span<const std::byte> bytes, uint32_t before) {
  uint64_t crc = ~before;
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 3 * kLaneBytes; left -= 3 * kLaneBytes, at += 3 * kLaneBytes) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kLaneBytes; i += 8) {
      crc = _mm_crc32_u64(crc, load_8(at + i));
      second = _mm_crc32_u64(second, load_8(at + kLaneBytes + i));
      third = _mm_crc32_u64(third, load_8(at + 2 * kLaneBytes + i));
    }
    crc = times(static_cast<uint32_t>(crc), kOverTwoLanes) ^
          times(static_cast<uint32_t>(second), kOverOneLane) ^ static_cast<uint32_t>(third);
  }
  for (; left >= 8; left -= 8, at += 8) crc = _mm_crc32_u64(crc, load_8(at));
  auto short_crc = static_cast<uint32_t>(crc);
  for (; left > 0; --left, ++at) {
    short_crc = _mm_crc32_u8(short_crc, std::to_integer<uint8_t>(*at));
  }
  return ~short_crc;
}

#else

bool crc32c_instruction_is_there() { return false; }
uint32_t crc32c_by_instruction(std::span<const std::byte> bytes, uint32_t before) {
  return crc32c_by_tables(bytes, before);
}

#endif

}  // namespace internal

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before) {
  return internal::crc32c_instruction_is_there() ? internal::crc32c_by_instruction(bytes, before)
                                                 : internal::crc32c_by_tables(bytes, before);
}

}  // namespace atl
