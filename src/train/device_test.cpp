#include "train/device.h"

#include <gtest/gtest.h>

namespace atl::train {
namespace {

TEST(Device, of_a_rank_is_the_gpu_of_its_number_or_the_only_one_it_sees) {
  EXPECT_EQ(gpu_of_rank(0, 8), 0);
  EXPECT_EQ(gpu_of_rank(7, 8), 7);
  EXPECT_EQ(gpu_of_rank(8, 8), std::nullopt);
  // A launcher has given every rank one of its own.
  EXPECT_EQ(gpu_of_rank(3, 1), 0);
}

TEST(Device, that_is_not_known_is_refused) {
  const auto device = choose_device("tpu");
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, ErrorCode::kInvalidInput);
}

}  // namespace
}  // namespace atl::train
