#include "fs/late_writes.h"

#include <gtest/gtest.h>

#include <thread>

namespace atl::fs {
namespace {

using Kind = LateWrites::Kind;

TEST(LateWrites, say_who_has_to_wait_for_what) {
  LateWrites writes(std::chrono::hours(1));
  writes.note("uploaded", Kind::kUpload);
  writes.note("copied", Kind::kCopy, "tag");
  writes.note("removed", Kind::kRemoval);
  writes.note("any", Kind::kAny);
  const auto waits = [&](std::string_view key) {
    return std::string(writes.hold_up_write(key, std::nullopt) ? "upload " : "") +
           (writes.hold_up_write(key, "tag") ? "same copy " : "") +
           (writes.hold_up_write(key, "another") ? "copy " : "") +
           (writes.hold_up_removal(key) ? "removal" : "");
  };
  EXPECT_EQ(waits("other"), "");
  EXPECT_EQ(waits("uploaded"), "removal");
  EXPECT_EQ(waits("copied"), "upload copy removal");
  EXPECT_EQ(waits("removed"), "upload same copy copy ");
  EXPECT_EQ(waits("any"), "upload same copy copy removal");
}

TEST(LateWrites, are_over_after_their_time_which_is_longer_for_a_large_copy) {
  LateWrites writes(std::chrono::milliseconds(20));
  writes.note("small", Kind::kCopy, "tag", 1000);
  writes.note("large", Kind::kCopy, "tag", uint64_t{1} << 50);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(writes.hold_up_write("small", std::nullopt));
  EXPECT_FALSE(writes.hold_up_removal("small"));
  EXPECT_TRUE(writes.hold_up_write("large", std::nullopt));
}

// A start after a crash in the middle of a large removal; with all looked through for each it would take minutes.
TEST(LateWrites, may_be_many) {
  LateWrites writes(std::chrono::hours(1));
  for (int i = 0; i < 200'000; ++i) writes.note(std::to_string(i), Kind::kAny);
  EXPECT_TRUE(writes.hold_up_removal("0"));
  EXPECT_TRUE(writes.hold_up_removal("199999"));
}

}  // namespace
}  // namespace atl::fs
