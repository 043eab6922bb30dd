#include "storage/cache/block_buffers.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <thread>
#include <vector>

namespace atl::storage {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kCell = 5 * kPage;

bool begins_a_page(const BlockBuffers::Buffer& buffer) {
  return reinterpret_cast<uintptr_t>(buffer.bytes.data()) % kPage == 0;
}

TEST(BlockBuffers, a_cell_is_used_again_once_its_last_owner_is_gone) {
  BlockBuffers buffers(kCell, 4);
  auto first = buffers.take(kCell);
  const auto* const memory = first.bytes.data();
  auto owner = first.owner;
  first = {};
  EXPECT_NE(buffers.take(kCell).bytes.data(), memory);
  owner.reset();
  const auto again = buffers.take(kCell - 1000);
  EXPECT_EQ(again.bytes.data(), memory);
  EXPECT_EQ(again.bytes.size(), kCell - 1000);
  EXPECT_EQ(buffers.cells_in_use(), 1);
}

TEST(BlockBuffers, more_than_there_are_cells_for_and_what_is_small_or_large_comes_from_elsewhere) {
  BlockBuffers buffers(kCell, 3);
  std::vector<BlockBuffers::Buffer> all;
  std::set<const std::byte*> places;
  for (const size_t size :
       {kCell, kCell, kCell, kCell, kCell / 2, size_t{1}, size_t{0}, 10 * kCell}) {
    all.push_back(buffers.take(size));
    ASSERT_TRUE(begins_a_page(all.back())) << size;
    ASSERT_EQ(all.back().bytes.size(), size);
    std::memset(all.back().bytes.data(), static_cast<int>(all.size()), size);
    places.insert(all.back().bytes.data());
  }
  EXPECT_EQ(places.size(), all.size());
  EXPECT_EQ(buffers.cells_in_use(), 3);
  for (size_t i = 0; i < all.size(); ++i) {
    for (const std::byte value : all[i].bytes) ASSERT_EQ(value, static_cast<std::byte>(i + 1));
  }
  all.clear();
  EXPECT_EQ(buffers.cells_in_use(), 0);
}

TEST(BlockBuffers, there_may_be_no_cells) {
  BlockBuffers buffers(kCell, 0);
  EXPECT_EQ(buffers.take(kCell).bytes.size(), kCell);
  EXPECT_EQ(buffers.cells_in_use(), 0);
}

TEST(BlockBuffers, a_cell_may_outlive_them) {
  std::optional<BlockBuffers> buffers(std::in_place, kCell, 1);
  const auto buffer = buffers->take(kCell);
  buffers.reset();
  buffer.bytes[kCell - 1] = std::byte{1};
}

TEST(BlockBuffers, no_two_threads_have_the_same_cell) {
  BlockBuffers buffers(kCell, 4);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&buffers, thread] {
      for (int i = 0; i < 200; ++i) {
        const auto buffer = buffers.take(kCell);
        std::memset(buffer.bytes.data(), thread, buffer.bytes.size());
        std::this_thread::yield();
        for (const std::byte value : buffer.bytes) ASSERT_EQ(value, static_cast<std::byte>(thread));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace atl::storage
