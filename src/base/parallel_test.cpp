#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace atl {
namespace {

TEST(ParallelFor, every_index_is_visited_once) {
  for (const int threads : {1, 2, 7}) {
    std::vector<std::atomic<int>> visits(1001);
    parallel_for(visits.size(), threads, 10, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) ++visits[i];
    });
    for (const auto& count : visits) EXPECT_EQ(count.load(), 1);
  }
}

TEST(ParallelFor, an_exception_reaches_the_caller) {
  EXPECT_THROW(parallel_for(100,
                            4,
                            1,
                            [](size_t begin, size_t) {
                              if (begin == 42) throw std::runtime_error("42");
                            }),
               std::runtime_error);
}

TEST(ParallelFor, nothing_to_do_is_no_work) {
  parallel_for(0, 4, 1, [](size_t, size_t) { FAIL(); });
}

}  // namespace
}  // namespace atl
