#include "storage/s3/receive_buffers.h"

#include <gtest/gtest.h>

#include <vector>

namespace atl::storage {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(ReceiveBuffers, memory_is_used_again_once_its_last_owner_is_gone) {
  const auto pool = ReceiveBuffers::make(16 * kMiB);
  auto first = pool->take(8 * kMiB);
  const auto* memory = first.bytes.data();
  auto copy = first.owner;
  first = {};
  EXPECT_NE(pool->take(8 * kMiB).bytes.data(), memory);
  copy.reset();
  const auto again = pool->take(8 * kMiB - 1000);
  EXPECT_EQ(again.bytes.data(), memory);
  EXPECT_EQ(again.bytes.size(), 8 * kMiB - 1000);
}

TEST(ReceiveBuffers, a_small_piece_does_not_take_a_large_memory) {
  const auto pool = ReceiveBuffers::make(16 * kMiB);
  const auto* memory = pool->take(8 * kMiB).bytes.data();
  EXPECT_NE(pool->take(kMiB).bytes.data(), memory);
  EXPECT_EQ(pool->take(5 * kMiB).bytes.data(), memory);
}

TEST(ReceiveBuffers, no_more_is_kept_than_was_said) {
  const auto pool = ReceiveBuffers::make(10 * kMiB);
  {
    std::vector<ReceiveBuffers::Buffer> all;
    for (int i = 0; i < 20; ++i) all.push_back(pool->take(3 * kMiB));
    all.push_back(pool->take(40 * kMiB));
    EXPECT_EQ(pool->kept_bytes(), 0u);
  }
  EXPECT_EQ(pool->kept_bytes(), 9 * kMiB);
}

TEST(ReceiveBuffers, a_buffer_may_outlive_the_pool) {
  auto pool = ReceiveBuffers::make(kMiB);
  const auto buffer = pool->take(kMiB);
  pool.reset();
  buffer.bytes[kMiB - 1] = std::byte{1};
}

}  // namespace
}  // namespace atl::storage
