#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/keyed_random.h"

namespace atl {
namespace {

std::vector<std::byte> noise(size_t size, uint64_t seed) {
  KeyedRandom random({seed});
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
  return bytes;
}

// One bit at a time, as the definition has it.
uint32_t by_definition(std::span<const std::byte> bytes) {
  uint32_t crc = ~0U;
  for (const std::byte byte : bytes) {
    crc ^= std::to_integer<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
  }
  return ~crc;
}

TEST(Crc32c, gives_the_check_values_of_its_definition) {
  EXPECT_EQ(crc32c(std::string_view("123456789")), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string_view()), 0U);
  // RFC 3720, B.4.
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
}

TEST(Crc32c, both_ways_give_the_defined_value_at_every_length_and_alignment) {
  const auto bytes = noise(20'000, 1);
  const auto check = [&](std::span<const std::byte> part) {
    const uint32_t wanted = by_definition(part);
    ASSERT_EQ(internal::crc32c_by_tables(part, 0), wanted) << part.size();
    if (internal::crc32c_instruction_is_there()) {
      ASSERT_EQ(internal::crc32c_by_instruction(part, 0), wanted) << part.size();
    }
  };
  for (size_t size = 0; size < 100; ++size) {
    for (size_t offset = 0; offset < 9; ++offset) check(std::span(bytes).subspan(offset, size));
  }
  for (size_t size = 3060; size < 3090; ++size) check(std::span(bytes).subspan(3, size));
  for (const size_t size : {6143U, 6144U, 6145U, 9216U, 19'997U}) {
    check(std::span(bytes).subspan(1, size));
  }
}

TEST(Crc32c, a_checksum_goes_on_where_another_ended) {
  const auto bytes = noise(9'999, 2);
  const std::span whole(bytes);
  for (const size_t cut : {0U, 1U, 8U, 3072U, 5000U, 9'999U}) {
    const uint32_t head = crc32c(whole.first(cut));
    EXPECT_EQ(crc32c(whole.subspan(cut), head), crc32c(whole)) << cut;
    EXPECT_EQ(internal::crc32c_by_tables(whole.subspan(cut), head), crc32c(whole)) << cut;
  }
}

}  // namespace
}  // namespace atl
