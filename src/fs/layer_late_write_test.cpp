// Writes that had no answer and may still take effect: nothing that is written later may be undone by them.
#include <chrono>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

// A copy and a removal have no condition on what they replace, so one that was given up may still undo what comes next.
class LayerLateWriteTest : public LayerTest {
 protected:
  using Clock = std::chrono::steady_clock;
  LayerLateWriteTest() { restart(std::chrono::milliseconds(150)); }
  void restart(std::chrono::milliseconds late_write) {
    machine_.stop();
    machine_.options.late_write = late_write;
    machine_.start();
  }
  // The first call has no answer; `next` is not to come before it can have taken effect.
  void watch(const std::string& call, const std::string& next) {
    remote_->set_fault([=, this](std::string_view now) -> std::optional<Error> {
      if (now == next && sent_ && !next_) next_ = Clock::now();
      if (now != call || sent_) return std::nullopt;
      sent_ = Clock::now();
      return Error{ErrorCode::kIo, "the connection was reset", {}, {}};
    });
  }
  void expect_waited() {
    ASSERT_TRUE(sent_ && next_);
    EXPECT_GE(*next_ - *sent_, machine_.options.late_write);
  }
  std::optional<Clock::time_point> sent_;
  std::optional<Clock::time_point> next_;
};

TEST_F(LayerLateWriteTest, an_upload_waits_for_a_copy_to_its_place) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  watch("copy a", "upload z");
  EXPECT_FALSE(machine_.layer().export_now("z", {}, nullptr));
  ASSERT_EQ(machine_.write("z", "mine"), 0);
  machine_.settle();
  expect_waited();
  EXPECT_EQ(remote_->content("z"), "mine");
}

TEST_F(LayerLateWriteTest, an_upload_waits_for_a_removal_of_its_place) {
  ASSERT_EQ(machine_.unlink("a"), 0);
  watch("remove a", "upload a");
  EXPECT_FALSE(machine_.layer().export_now("", {}, nullptr));
  ASSERT_EQ(machine_.write("a", "mine"), 0);
  machine_.settle();
  expect_waited();
  EXPECT_EQ(remote_->content("a"), "mine");
}

TEST_F(LayerLateWriteTest, a_removal_waits_for_a_copy_to_its_place) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  watch("copy a", "stat z");
  EXPECT_FALSE(machine_.layer().export_now("z", {}, nullptr));
  ASSERT_EQ(machine_.unlink("z"), 0);
  machine_.settle();
  expect_waited();
}

TEST_F(LayerLateWriteTest, the_same_copy_is_tried_again_at_once) {
  restart(std::chrono::hours(1));
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  watch("copy a", "copy a");
  EXPECT_FALSE(machine_.layer().export_now("z", {}, nullptr));
  machine_.settle();
  EXPECT_EQ(remote_->content("z"), "alpha");
}

TEST_F(LayerLateWriteTest, an_upload_waits_for_what_was_sent_twice) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  remote_->set_sends_again(true);
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call == "copy a") sent_ = Clock::now();
    if (call == "upload z" && !next_) next_ = Clock::now();
    return std::nullopt;
  });
  machine_.settle();
  ASSERT_EQ(machine_.write("z", "mine"), 0);
  machine_.settle();
  expect_waited();
}

TEST_F(LayerLateWriteTest, an_upload_waits_for_what_the_process_before_may_have_sent) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  ASSERT_EQ(machine_.unlink("d/b"), 0);
  machine_.crash();
  sent_ = Clock::now();
  machine_.start();
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call.starts_with("upload ") && !next_) next_ = Clock::now();
    return std::nullopt;
  });
  ASSERT_EQ(machine_.write("z", "mine"), 0);
  ASSERT_EQ(machine_.write("d/b", "mine"), 0);
  machine_.settle();
  expect_waited();
  EXPECT_EQ(remote_->content("z"), "mine");
  EXPECT_EQ(remote_->content("d/b"), "mine");
}

TEST_F(LayerLateWriteTest,
       a_removal_waits_for_an_upload_without_an_answer_although_another_one_had_one) {
  ASSERT_EQ(machine_.write("n", "mine"), 0);
  watch("upload n", "remove n");
  EXPECT_FALSE(machine_.layer().export_now("n", {}, nullptr));
  machine_.settle();
  ASSERT_EQ(machine_.unlink("n"), 0);
  machine_.settle();
  expect_waited();
}

TEST_F(LayerLateWriteTest, a_removal_waits_for_what_the_process_before_may_have_copied_there) {
  remote_->put("z", "old");
  machine_.age();
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  watch("copy a", "");
  EXPECT_FALSE(machine_.layer().export_now("z", {}, nullptr));
  ASSERT_EQ(machine_.unlink("z"), 0);
  machine_.crash();
  sent_ = Clock::now();
  machine_.start();
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call == "remove z" && !next_) next_ = Clock::now();
    return std::nullopt;
  });
  machine_.settle();
  expect_waited();
}

TEST_F(LayerLateWriteTest, a_copy_waits_for_an_earlier_one_of_the_process_before) {
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
  watch("copy a", "");
  EXPECT_FALSE(machine_.layer().export_now("a", {}, nullptr));
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0640}), 0);
  machine_.crash();
  sent_ = Clock::now();
  machine_.start();
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call == "copy a" && !next_) next_ = Clock::now();
    return std::nullopt;
  });
  machine_.settle();
  expect_waited();
}

}  // namespace
}  // namespace atl::fs
