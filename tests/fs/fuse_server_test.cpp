// The session itself: what the kernel keeps and forgets, who can be killed, how it begins and ends.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cerrno>

#include "mounted.h"

namespace atl::fs {
namespace {

class FuseServing : public Mounted {};

class FuseMounting : public Mounted {
 protected:
  FuseMounting() { mount_at_start_ = false; }
};

TEST_F(FuseServing, what_the_kernel_knows_is_not_asked_again) {
  layer_.put("a", "content");
  EXPECT_EQ(content_of("a"), "content");
  (void)status_of("a");
  layer_.forget_calls();
  (void)status_of("a");
  EXPECT_EQ(layer_.calls_of("lookup") + layer_.calls_of("attributes"), 0U);
  EXPECT_EQ(content_of("a"), "content");
  EXPECT_EQ(content_of("a"), "content");
  EXPECT_LE(layer_.calls_of("read"), 1U);
}

TEST_F(FuseServing, a_name_that_is_not_there_is_remembered_until_an_import_tells) {
  EXPECT_EQ(::access(path("a").c_str(), F_OK), -1);
  layer_.forget_calls();
  EXPECT_EQ(::access(path("a").c_str(), F_OK), -1);
  EXPECT_EQ(layer_.calls_of("lookup"), 0U);
  layer_.put("a", "now");
  layer_.tell({.parent = kRoot, .name = "a"});
  EXPECT_EQ(content_of("a"), "now");
}

TEST_F(FuseServing, a_changed_content_is_seen_once_an_import_tells) {
  const InodeNumber inode = layer_.put("a", "old content");
  EXPECT_EQ(content_of("a"), "old content");
  layer_.put("a", "new");
  layer_.tell({.inode = inode});
  EXPECT_EQ(status_of("a").st_size, 3);
  EXPECT_EQ(content_of("a"), "new");
}

TEST_F(FuseServing, a_changed_content_is_seen_by_the_next_open_without_being_told) {
  layer_.put("a", "one");
  EXPECT_EQ(content_of("a"), "one");
  layer_.put("a", "two");  // as long as before: the kernel's size is right
  EXPECT_EQ(content_of("a"), "two");
}

TEST_F(FuseServing, what_nobody_knows_can_be_told) {
  layer_.tell({.inode = 12345, .parent = 678, .name = "x"});
  EXPECT_EQ(::access(point_.c_str(), F_OK), 0);
}

TEST_F(FuseServing, the_root_answers_what_the_server_was_told_to) {
  unmount();
  options_.root_xattrs["user.atoll.state"] = "/var/lib/x";
  mount();
  char value[100] = {};
  EXPECT_EQ(::getxattr(point_.c_str(), "user.atoll.state", value, sizeof(value)), 10);
  EXPECT_STREQ(value, "/var/lib/x");
  EXPECT_EQ(::listxattr(point_.c_str(), nullptr, 0), 0);
}

// A child that opens the file and reads from it; it waits where the layer is told to hold.
pid_t reader(const std::string& file) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const int fd = ::open(file.c_str(), O_RDONLY);
  char byte = 0;
  ::_exit(::read(fd, &byte, 1) == 1 ? 0 : 1);
}

TEST_F(FuseServing, a_process_that_waits_for_the_bucket_can_be_killed) {
  layer_.put("a", "x");
  layer_.hold("read");
  for (const int signal : {SIGKILL, SIGTERM, SIGINT}) {
    const pid_t child = reader(path("a"));
    layer_.wait_for_held(1);
    ::kill(child, signal);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);  // while the layer still waits
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal);
    layer_.release("read");
    EXPECT_EQ(content_of("a"), "x");
    layer_.hold("read");
    layer_.tell({.inode = status_of("a").st_ino});
  }
  layer_.release("read");
}

TEST_F(FuseServing, an_open_that_nobody_waits_for_any_more_is_closed) {
  layer_.put("a", "x");
  layer_.hold("open");
  const pid_t child = reader(path("a"));
  layer_.wait_for_held(1);
  ::kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  layer_.release("open");
  unmount();  // waits for the operations
  EXPECT_EQ(layer_.open_handles(), 0U);
}

TEST_F(FuseServing, a_signal_that_a_process_handles_does_not_disturb_its_read) {
  layer_.put("a", "x");
  layer_.hold("read");
  struct sigaction handled {};
  struct sigaction before {};
  handled.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR2, &handled, &before), 0);
  const pid_t child = reader(path("a"));
  layer_.wait_for_held(1);
  ::kill(child, SIGUSR2);
  // A second request goes through behind the interrupt, so that has been looked at.
  EXPECT_EQ(::access(path("none").c_str(), F_OK), -1);
  layer_.release("read");
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  ::sigaction(SIGUSR2, &before, nullptr);
}

TEST_F(FuseServing, many_may_wait_and_others_are_served) {
  layer_.put("a", "x");
  layer_.put("b", "y");
  EXPECT_EQ(content_of("b"), "y");
  layer_.hold("open");
  std::vector<pid_t> children;
  for (int i = 0; i < 20; ++i) children.push_back(reader(path("a")));
  layer_.wait_for_held(20);
  EXPECT_EQ(status_of("b").st_size, 1);
  EXPECT_EQ(::access(path("none").c_str(), F_OK), -1);
  layer_.release("open");
  for (const pid_t child : children) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

TEST_F(FuseServing, stopping_unmounts_even_what_is_in_use) {
  layer_.put("a", "x");
  const UniqueFd file = opened("a", O_RDONLY);
  ASSERT_TRUE(file);
  unmount();
  EXPECT_TRUE(served_->has_value());
  EXPECT_FALSE(mounted_at(*mounts(), point_));
  char byte = 0;
  EXPECT_EQ(::read(file.get(), &byte, 1), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST_F(FuseServing, an_unmount_from_outside_ends_serving) {
  ASSERT_TRUE(fs::unmount(point_, false).has_value());
  wait_for_end();
  EXPECT_TRUE(served_->has_value()) << served_->error().to_string();
}

TEST_F(FuseServing, a_mount_in_use_is_not_unmounted_from_outside_unless_lazily) {
  layer_.put("a", "x");
  UniqueFd file = opened("a", O_RDONLY);
  const auto refused = fs::unmount(point_, false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_THAT(refused.error().to_string(), ::testing::HasSubstr("is in use"));
  ASSERT_TRUE(fs::unmount(point_, true).has_value());
  char byte = 0;
  EXPECT_EQ(::read(file.get(), &byte, 1), 1);  // who has it open goes on
  file = UniqueFd();
  wait_for_end();
}

TEST_F(FuseServing, the_table_of_mounts_shows_what_it_is) {
  const auto mount = mounted_at(*mounts(), point_);
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->type, "fuse.atoll");
  EXPECT_EQ(mount->source, "s3://bucket/a,b\\c");
  EXPECT_EQ(mount_of(*mounts(), path("deep/down"))->point, point_);
}

TEST_F(FuseServing, a_second_mount_on_the_same_place_is_refused) {
  FakeFileLayer other;
  const auto refused = FuseServer::mount(other, options_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(refused.error().to_string(), ::testing::HasSubstr("mounted already"));
}

TEST_F(FuseMounting, a_mount_whose_server_was_killed_is_cleaned_away_and_mounted_again) {
  int ready[2] = {};
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    FakeFileLayer layer;
    auto server = FuseServer::mount(layer, options_);
    if (!server) ::_exit(1);
    (void)(*server)->serve({}, [&] { (void)!::write(ready[1], "r", 1); });
    ::_exit(0);
  }
  char byte = 0;
  ::close(ready[1]);
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  EXPECT_EQ(::access(point_.c_str(), F_OK), 0);  // the kernel remembers the root's attributes
  EXPECT_FALSE(is_dead(point_));
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(is_dead(point_));
  layer_.put("a", "x");
  mount();
  EXPECT_EQ(content_of("a"), "x");
  EXPECT_TRUE(logged("cleaned away"));
}

TEST_F(FuseMounting, a_read_only_mount_refuses_changes) {
  options_.read_only = true;
  layer_.put("a", "x");
  mount();
  EXPECT_FALSE(opened("a", O_RDWR));
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::mkdir(path("d").c_str(), 0755), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(content_of("a"), "x");
}

TEST_F(FuseMounting, only_a_directory_can_be_mounted_on) {
  options_.mount_point = path("file");
  { const UniqueFd file = opened("file", O_CREAT | O_WRONLY); }
  auto refused = FuseServer::mount(layer_, options_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidInput);
  options_.mount_point = path("none");
  refused = FuseServer::mount(layer_, options_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
}

TEST_F(FuseMounting, an_option_that_the_kernel_does_not_know_is_refused) {
  options_.kernel_options = {"no_such_option"};
  EXPECT_FALSE(FuseServer::mount(layer_, options_).has_value());
}

TEST_F(FuseMounting, a_server_that_never_serves_unmounts) {
  ASSERT_TRUE(FuseServer::mount(layer_, options_).has_value());
  EXPECT_FALSE(mounted_at(*mounts(), point_));
}

}  // namespace
}  // namespace atl::fs
