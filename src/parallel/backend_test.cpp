#include "parallel/backend.h"

#include <gmock/gmock.h>

namespace atl::parallel {
namespace {

using testing::HasSubstr;

TEST(Backend, of_the_cpu_is_there_from_the_start) {
  EXPECT_NE(find_backend(c10::DeviceType::CPU), nullptr);
  EXPECT_TRUE(load_backend(at::kCPU));
}

TEST(Backend, of_a_device_that_nobody_has_written_is_refused) {
  EXPECT_EQ(find_backend(c10::DeviceType::HPU), nullptr);
  const auto loaded = load_backend(c10::DeviceType::HPU);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(loaded.error().message, HasSubstr("several ranks on hpu"));
}

// Where it is built and its libraries are there, it is loaded; elsewhere the message says what is missing.
TEST(Backend, of_gpus_is_loaded_or_missed_by_name) {
  const auto loaded = load_backend(at::kCUDA);
  EXPECT_EQ(loaded.has_value(), find_backend(c10::DeviceType::CUDA) != nullptr);
  if (loaded) {
    EXPECT_EQ(find_backend(c10::DeviceType::CUDA)->type, c10d::ProcessGroup::NCCL);
    return;
  }
  EXPECT_EQ(loaded.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(loaded.error().message, HasSubstr("several ranks on GPUs: "));
  EXPECT_THAT(loaded.error().message, HasSubstr(".so"));
  EXPECT_THAT(loaded.error().hint, HasSubstr("./run setup --cuda"));
}

}  // namespace
}  // namespace atl::parallel
