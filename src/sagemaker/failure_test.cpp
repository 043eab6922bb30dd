#include "sagemaker/failure.h"

#include <gmock/gmock.h>

#include "sagemaker/contract_fixture.h"

namespace atl::sagemaker {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::StartsWith;

TEST(Failure, a_short_message_is_left_as_it_is_on_one_line) {
  EXPECT_EQ(failure_text("out of memory (a smaller batch)"), "out of memory (a smaller batch)");
  EXPECT_EQ(failure_text("a\nb\tc"), "a b c");
  EXPECT_EQ(failure_text("a\xff"
                         "b"),
            "a?b");
}

TEST(Failure, a_long_message_keeps_its_beginning_and_what_to_do) {
  const std::string message = "the reason: " + std::string(5000, 'x') + " (do that)";
  const std::string text = failure_text(message);
  EXPECT_LE(text.size(), kMaxFailureBytes);
  EXPECT_GT(text.size(), kMaxFailureBytes - 8);
  EXPECT_THAT(text, AllOf(StartsWith("the reason: x"), EndsWith("x (do that)")));
}

TEST(Failure, it_is_cut_at_whole_characters) {
  for (size_t shift = 0; shift < 4; ++shift) {
    std::string message(shift, 'a');
    for (int i = 0; i < 1000; ++i) message += "\xf0\x9f\x90\x9f";
    const std::string text = failure_text(message);
    EXPECT_LE(text.size(), kMaxFailureBytes);
    EXPECT_EQ(failure_text(text), text);  // nothing was broken, or it would be replaced
    EXPECT_EQ(text.find('?'), std::string::npos);
  }
  EXPECT_EQ(failure_text(std::string(kMaxFailureBytes, 'a')).size(), kMaxFailureBytes);
}

TEST(Failure, a_rank_is_quoted_with_its_own_words) {
  EXPECT_EQ(
      message_of_rank({"first", "atoll: reading: no such file (look)", "later"}, "rank 0 ended"),
      "reading: no such file (look)");
  EXPECT_EQ(message_of_rank({"terminate called"}, "rank 0 was killed by signal 6"),
            "rank 0 was killed by signal 6: terminate called");
  EXPECT_EQ(message_of_rank({}, "rank 0 was killed by signal 9"), "rank 0 was killed by signal 9");
}

class FailureFile : public ContainerFolder {};

TEST_F(FailureFile, lies_where_sagemaker_looks) {
  ASSERT_TRUE(write_failure(paths_, "why (what to do)"));
  EXPECT_EQ(text("output/failure"), "why (what to do)");
}

}  // namespace
}  // namespace atl::sagemaker
