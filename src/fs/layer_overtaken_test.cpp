// What is done to a file while its export is under way, or before an earlier write of it is known.
#include <gmock/gmock.h>

#include <atomic>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using storage::FakeRemote;

class LayerOvertakenTest : public testing::Test {
 protected:
  LayerOvertakenTest() : remote_(std::make_shared<FakeRemote>()), machine_(remote_) {
    remote_->put("a", "alpha");
    remote_->put("d/b", "beta");
    machine_.options.exports = ExportPolicy::kOnDemand;
    machine_.start();
  }
  // `act` comes before the first such call.
  void at_first(const std::string& call, const std::function<void()>& act) {
    remote_->set_fault([=, this](std::string_view now) -> std::optional<Error> {
      if (now == call && !acted_.exchange(true)) act();
      return std::nullopt;
    });
  }
  void settle() {
    machine_.settle();
    EXPECT_TRUE(acted_);
    EXPECT_EQ(machine_.layer().counts().conflicts, 0U);
  }
  std::shared_ptr<FakeRemote> remote_;
  Machine machine_;
  std::atomic<bool> acted_ = false;
};

TEST_F(LayerOvertakenTest, a_conflict_at_its_old_place_is_none_of_a_file_whose_directory_moved) {
  ASSERT_EQ(machine_.make_directory("n"), 0);
  ASSERT_EQ(machine_.write("n/f", "mine"), 0);
  at_first("upload n/f", [&] {
    remote_->put("n/f", "theirs");
    EXPECT_EQ(machine_.rename("n", "m"), 0);
  });
  settle();
  EXPECT_EQ(remote_->content("m/f"), "mine");
  EXPECT_EQ(remote_->content("n/f"), "theirs");
}

TEST_F(LayerOvertakenTest, a_file_that_is_unlinked_while_it_is_copied_is_no_conflict) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  at_first("copy a", [&] {
    EXPECT_EQ(machine_.unlink("z"), 0);
    remote_->erase("a");
  });
  settle();
  EXPECT_EQ(remote_->content("z"), std::nullopt);
}

TEST_F(LayerOvertakenTest, a_file_that_is_unlinked_while_it_is_uploaded_goes_from_the_bucket) {
  ASSERT_EQ(machine_.write("n", "mine"), 0);
  at_first("upload n", [&] { EXPECT_EQ(machine_.unlink("n"), 0); });
  settle();
  EXPECT_EQ(remote_->content("n"), std::nullopt);
}

TEST_F(LayerOvertakenTest, an_upload_of_a_removed_directory_leaves_nothing_for_the_next_one) {
  ASSERT_EQ(machine_.make_directory("n"), 0);
  ASSERT_EQ(machine_.write("n/f", "mine"), 0);
  at_first("upload n/f", [&] {
    EXPECT_EQ(machine_.unlink("n/f"), 0);
    EXPECT_EQ(machine_.remove_directory("n"), 0);
  });
  settle();
  EXPECT_EQ(remote_->content("n/f"), std::nullopt);
  ASSERT_EQ(machine_.make_directory("n"), 0);
  ASSERT_EQ(machine_.write("n/f", "later"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("n/f"), "later");
}

// A write whose answer a crash has cut off, a removal of it, a new file in its place that goes, too.
TEST_F(LayerOvertakenTest, an_unknown_write_goes_although_its_removal_was_taken_back) {
  ASSERT_EQ(machine_.write("n", "first"), 0);
  machine_.copy_state();
  machine_.settle();
  machine_.crash_to_copy();
  machine_.start();
  ASSERT_EQ(remote_->content("n"), "first");
  ASSERT_EQ(machine_.unlink("n"), 0);
  ASSERT_EQ(machine_.write("n", "second"), 0);
  ASSERT_EQ(machine_.unlink("n"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("n"), std::nullopt);
}

TEST_F(LayerOvertakenTest, a_removal_waits_for_a_write_whose_answer_never_came) {
  using Clock = std::chrono::steady_clock;
  machine_.stop();
  machine_.options.late_write = std::chrono::milliseconds(150);
  machine_.start();
  ASSERT_EQ(machine_.write("n", "mine"), 0);
  std::optional<Clock::time_point> sent;
  std::optional<Clock::time_point> looked_for;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call == "stat n" && !looked_for) looked_for = Clock::now();
    if (call != "upload n") return std::nullopt;
    sent = Clock::now();
    return Error{ErrorCode::kIo, "the connection was reset", {}, {}};
  });
  EXPECT_FALSE(machine_.layer().export_now("", {}, nullptr));
  ASSERT_EQ(machine_.unlink("n"), 0);
  machine_.settle();
  ASSERT_TRUE(sent && looked_for);
  EXPECT_GE(*looked_for - *sent, machine_.options.late_write);
}

TEST_F(LayerOvertakenTest, a_read_goes_on_where_its_bytes_have_been_moved_to) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  at_first("read a", [&] { machine_.settle(); });
  EXPECT_EQ(machine_.read("z"), "alpha");
  EXPECT_TRUE(acted_);
  EXPECT_EQ(remote_->content("a"), std::nullopt);
}

TEST_F(LayerOvertakenTest, an_export_of_a_directory_waits_for_what_was_moved_out_of_it) {
  ASSERT_EQ(machine_.rename("d/b", "z"), 0);
  const auto exported = machine_.layer().export_now("d", {}, nullptr);
  ASSERT_TRUE(exported) << exported.error().to_string();
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  EXPECT_EQ(remote_->content("z"), "beta");
}

}  // namespace
}  // namespace atl::fs
