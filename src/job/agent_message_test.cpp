#include "job/agent_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::job {
namespace {

using ::testing::HasSubstr;

std::vector<AgentMessage> one_of_each() {
  JoinMessage join{"secret", "agent-1", "gpu01", 2, 8, 4000, {3, 1, 200}};
  EndedMessage ended{7,
                     {
                         137,
                         true,
                         false,
                         "rank 3 on gpu02 was killed",
                     },
                     4001};
  BeginMessage begin{{7, 2, 150}, 1, 3, 8, 24, "10.0.0.7", 4002, "round 7: 3 hosts"};
  return {join,
          AliveMessage{99},
          StepMessage{7, 151},
          ended,
          StopMessage{2},
          begin,
          EndMessage{7, 15, true, "SIGTERM on gpu02"},
          OverMessage{143, "stopped"}};
}

TEST(AgentMessage, every_kind_is_read_as_it_was_written) {
  for (const AgentMessage& message : one_of_each()) {
    std::string line = to_line(message);
    ASSERT_TRUE(line.ends_with('\n'));
    line.pop_back();
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const auto read = parse_message(line);
    ASSERT_TRUE(read) << line << read.error().to_string();
    EXPECT_EQ(*read, message) << line;
  }
}

TEST(AgentMessage, what_is_missing_or_out_of_bounds_is_refused) {
  EXPECT_TRUE(parse_message(R"({"say":"alive","number":1})"));
  for (const char* line : {"",
                           "hello",
                           "[1]",
                           "{}",
                           R"({"say":1})",
                           R"({"say":"dance"})",
                           R"({"say":"alive"})",
                           R"({"say":"alive","number":-1})",
                           R"({"say":"alive","number":1.5})",
                           R"({"say":"alive","number":18446744073709551615})",
                           R"({"say":"alive","number":"1"})",
                           R"({"say":"stop","signal":0})",
                           R"({"say":"over","code":256,"why":""})",
                           R"({"say":"over","code":0,"why":null})"}) {
    EXPECT_EQ(parse_message(line).error().code, ErrorCode::kInvalidInput) << line;
  }
  EXPECT_FALSE(parse_message(R"({"say":"alive","number":1,"x":")" +
                             std::string(kMaxMessageBytes, 'x') + "\"}"));
}

TEST(AgentMessage, a_rank_beyond_its_job_is_refused) {
  auto begin = std::get<BeginMessage>(one_of_each()[5]);
  begin.rank = begin.size;
  std::string line = to_line(begin);
  line.pop_back();
  EXPECT_FALSE(parse_message(line));
  begin.rank = 0;
  begin.master_host = "10.0.0.1; rm -rf";
  line = to_line(begin);
  line.pop_back();
  EXPECT_FALSE(parse_message(line));
}

TEST(AgentMessage, texts_are_bounded_and_move_no_cursor) {
  const auto read = parse_message(R"({"say":"over","code":1,"why":"a\u001b[2Jb\nc"})");
  ASSERT_TRUE(read);
  EXPECT_EQ(std::get<OverMessage>(*read).why, "a [2Jb c");
  // Of three bytes each, so the cut would fall into one; and one that is no UTF-8 at all.
  std::string long_text;
  for (int i = 0; i < 10'000; ++i) long_text += "…";
  const std::string line = to_line(OverMessage{1, long_text});
  EXPECT_LT(line.size(), kMaxMessageBytes);
  EXPECT_THAT(line, HasSubstr("……\"")) << "cut between two characters";
  EXPECT_THAT(to_line(OverMessage{1, "\xff"}), HasSubstr("over"));
}

}  // namespace
}  // namespace atl::job
