// A mount with its control channel, from the beginning to the end, over a layer in memory.
#include "fs/mount_session.h"

#include <gmock/gmock.h>

#include "fs/control_socket.h"
#include "mounted.h"

namespace atl::fs {
namespace {

class MountSession : public Mounted {
 protected:
  MountSession() { mount_at_start_ = false; }

  void begin() {
    session_.server = options_;
    session_.state_directory = state_ = point_ + ".state";
    std::filesystem::create_directory(state_);
    session_.log_file = "the log";
    thread_ = std::thread([this] {
      ended_ = run_mount_session(layer_, session_, stop_.get_token(), [this] {
        const std::lock_guard lock(mutex_);
        ready_ = true;
        changed_.notify_all();
      });
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready_; });
  }
  void TearDown() override {
    if (thread_.joinable()) {
      stop_.request_stop();
      thread_.join();
    }
    if (!state_.empty()) std::filesystem::remove_all(state_);
    Mounted::TearDown();
  }
  ControlReply ask(const ControlRequest& request) {
    ControlReply last;
    const auto asked = ask_daemon(state_, request, {}, [&](const ControlReply& reply) {
      last = reply;
      return true;
    });
    EXPECT_TRUE(asked.has_value() && *asked);
    return last;
  }

  MountSessionOptions session_;
  std::string state_;
  std::thread thread_;
  std::stop_source stop_;
  std::optional<Result<void>> ended_;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;
};

TEST_F(MountSession, the_daemon_says_who_it_is) {
  begin();
  const auto info = ask({}).info;
  ASSERT_TRUE(info);
  EXPECT_EQ(info->mount_point, point_);
  EXPECT_EQ(info->source, options_.source);
  EXPECT_EQ(info->log_file, "the log");
}

TEST_F(MountSession, files_and_jobs_are_served_at_the_same_time) {
  begin();
  write_file("a", "12345");
  layer_.hold("preload");
  std::thread job(
      [&] { EXPECT_EQ(ask({.command = ControlCommand::kPreload}).progress.bytes, 5U); });
  layer_.wait_for_held(1);
  EXPECT_EQ(content_of("a"), "12345");
  layer_.release("preload");
  job.join();
}

TEST_F(MountSession, an_unmount_over_the_channel_exports_what_is_left_and_ends_it) {
  begin();
  write_file("a", "12345");
  EXPECT_EQ(ask({.command = ControlCommand::kUnmount}).progress.bytes, 5U);
  thread_.join();
  EXPECT_TRUE(ended_->has_value());
  EXPECT_FALSE(mounted_at(*mounts(), point_));
  EXPECT_EQ(layer_.calls_of("export"), 1U);
}

TEST_F(MountSession, a_mount_in_use_stays_and_says_so) {
  begin();
  write_file("a", "1");
  const UniqueFd file = opened("a", O_RDONLY);
  const auto refused = ask({.command = ControlCommand::kUnmount});
  EXPECT_EQ(refused.kind, ControlReply::Kind::kError);
  EXPECT_THAT(refused.error.to_string(), ::testing::HasSubstr("in use"));
  EXPECT_EQ(content_of("a"), "1");
}

TEST_F(MountSession, stopping_exports_what_is_left) {
  begin();
  write_file("a", "1");
  stop_.request_stop();
  thread_.join();
  EXPECT_TRUE(ended_->has_value());
  EXPECT_EQ(layer_.calls_of("export"), 1U);
}

TEST_F(MountSession, where_exports_are_on_demand_the_end_exports_nothing) {
  session_.export_at_end = false;
  begin();
  EXPECT_EQ(ask({.command = ControlCommand::kUnmount}).kind, ControlReply::Kind::kDone);
  thread_.join();
  EXPECT_EQ(layer_.calls_of("export"), 0U);
}

TEST_F(MountSession, an_export_that_does_not_end_is_given_up_when_patience_is_over) {
  session_.export_patience = std::chrono::seconds(0);
  begin();
  write_file("a", "1");
  stop_.request_stop();
  thread_.join();
  EXPECT_TRUE(ended_->has_value());
}

TEST_F(MountSession,
       a_state_directory_that_is_not_there_or_in_the_way_is_an_error_and_leaves_no_mount) {
  session_.server = options_;
  for (const std::string& state : {point_ + ".none", point_ + "/state"}) {
    session_.state_directory = state;
    EXPECT_FALSE(run_mount_session(layer_, session_, {}, {}).has_value());
  }
  EXPECT_FALSE(mounted_at(*mounts(), point_));
}

}  // namespace
}  // namespace atl::fs
