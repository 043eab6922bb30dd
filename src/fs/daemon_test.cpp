#include "fs/daemon.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace atl::fs {
namespace {

using ::testing::HasSubstr;

class DaemonStart : public ::testing::Test {
 protected:
  DaemonStart() {
    std::string name = (std::filesystem::temp_directory_path() / "atoll-daemon-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~DaemonStart() override { std::filesystem::remove_all(folder_); }

  std::string content(const std::string& name) const {
    std::stringstream text;
    text << std::ifstream(folder_ + "/" + name).rdbuf();
    return text.str();
  }

  std::string folder_;
};

TEST_F(DaemonStart, the_caller_goes_on_when_the_daemon_is_ready) {
  const std::string log = folder_ + "/log";
  auto daemon = Daemon::start();
  ASSERT_TRUE(daemon.has_value());
  if (*daemon) {  // in the daemon
    std::ofstream(folder_ + "/where") << std::filesystem::current_path().string();
    const bool ready = (*daemon)->ready(log).has_value();
    ::_exit(ready ? 0 : 1);
  }
  EXPECT_EQ(content("where"), "/");
  EXPECT_TRUE(std::filesystem::exists(log));
}

TEST_F(DaemonStart, the_daemons_error_is_the_callers) {
  auto daemon = Daemon::start();
  if (daemon && *daemon) {
    (*daemon)->failed({ErrorCode::kPermission, "not yours", "ask", {"mounting"}});
    ::_exit(1);
  }
  ASSERT_FALSE(daemon.has_value());
  EXPECT_EQ(daemon.error().code, ErrorCode::kPermission);
  EXPECT_EQ(daemon.error().to_string(), "mounting: not yours (ask)");
}

TEST_F(DaemonStart, a_daemon_that_dies_before_it_is_ready_is_an_error) {
  auto daemon = Daemon::start();
  if (daemon && *daemon) ::raise(SIGKILL);
  ASSERT_FALSE(daemon.has_value());
  EXPECT_THAT(daemon.error().to_string(), HasSubstr("died of signal 9"));
}

TEST_F(DaemonStart, a_log_that_cannot_be_opened_is_an_error) {
  EXPECT_FALSE(Log::open(folder_ + "/none/log").has_value());
}

TEST_F(DaemonStart, lines_of_the_log_carry_the_time) {
  const auto log = Log::open(folder_ + "/log");
  ASSERT_TRUE(log.has_value());
  log->line("first");
  log->line("second");
  EXPECT_THAT(content("log"),
              ::testing::MatchesRegex("[0-9]+-..-..T..:..:..[+-].... first\n.* second\n"));
}

}  // namespace
}  // namespace atl::fs
