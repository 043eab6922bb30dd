#include "dataset/pixel_buffer.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

namespace atl::dataset {
namespace {

// Counts what it gives and what comes back.
struct CountingMemory {
  int given = 0;
  int freed = 0;
  PixelMemory hook() {
    return [this](size_t bytes) -> std::shared_ptr<std::byte> {
      ++given;
      auto memory = ordinary_pixel_memory(bytes);
      std::byte* begin = memory.get();
      return {begin, [this, memory = std::move(memory)](std::byte*) { ++freed; }};
    };
  }
};

TEST(PixelBuffer, memory_comes_back_with_the_last_copy_and_is_used_again) {
  CountingMemory memory;
  PixelPool pool(memory.hook());
  PixelBuffer first = pool.get(PixelType::kFloat32, 100);
  const std::byte* begin = first.bytes().data();
  EXPECT_EQ(first.bytes().size(), 400U);
  EXPECT_EQ(first.floats().size(), 100U);
  PixelBuffer copy = first;
  first = {};
  EXPECT_NE(pool.get(PixelType::kFloat32, 100).bytes().data(), begin);
  std::thread([last = std::move(copy)]() mutable { last = {}; }).join();
  std::set<const std::byte*> seen;
  const PixelBuffer a = pool.get(PixelType::kBfloat16, 200);
  const PixelBuffer b = pool.get(PixelType::kFloat32, 50);
  seen.insert({a.bytes().data(), b.bytes().data()});
  EXPECT_TRUE(seen.contains(begin));
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_EQ(memory.given, 2);
  EXPECT_EQ(a.bfloat16s().size(), 200U);
}

TEST(PixelBuffer, after_the_largest_sizes_nothing_is_allocated_any_more) {
  CountingMemory memory;
  PixelPool pool(memory.hook());
  for (int epoch = 0; epoch < 20; ++epoch) {
    std::vector<PixelBuffer> ahead;
    for (const size_t size : {300, 100, 500, 200}) {
      ahead.push_back(pool.get(PixelType::kFloat32, size));
      if (ahead.size() > 3) ahead.erase(ahead.begin());
    }
    if (epoch == 3) memory.given = memory.freed = 0;
  }
  EXPECT_EQ(memory.given, 0);
  EXPECT_EQ(memory.freed, 0);
}

TEST(PixelBuffer, a_buffer_outlives_its_pool) {
  CountingMemory memory;
  PixelBuffer buffer;
  {
    PixelPool pool(memory.hook());
    buffer = pool.get(PixelType::kFloat32, 10);
    PixelBuffer other = pool.get(PixelType::kFloat32, 10);
  }
  buffer.floats()[9] = 1;
  buffer.shrink(5);
  EXPECT_EQ(buffer.size(), 5U);
  EXPECT_EQ(memory.freed, 0);
  buffer = {};
  EXPECT_EQ(memory.freed, 2);
}

TEST(PixelBuffer, no_pixels_need_no_memory) {
  CountingMemory memory;
  PixelPool pool(memory.hook());
  EXPECT_TRUE(pool.get(PixelType::kFloat32, 0).empty());
  EXPECT_TRUE(PixelBuffer().empty());
  EXPECT_EQ(memory.given, 0);
}

}  // namespace
}  // namespace atl::dataset
