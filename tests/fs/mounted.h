// A FakeFileLayer mounted on a folder of its own, in the process of the test.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "fs/fake_file_layer.h"
#include "fs/fuse_server.h"
#include "fs/mount_point.h"

namespace atl::fs {

class Mounted : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/fuse", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "FUSE cannot be used here: /dev/fuse is missing or not ours";
    }
    std::string name = (std::filesystem::temp_directory_path() / "atoll-fuse-XXXXXX").string();
    point_ = ::mkdtemp(name.data());
    options_.mount_point = point_;
    options_.source = "s3://bucket/a,b\\c";
    options_.log = [this](std::string_view line) {
      const std::lock_guard lock(mutex_);
      log_ += std::string(line) + "\n";
    };
    if (mount_at_start_) mount();
  }
  void TearDown() override {
    unmount();
    if (!point_.empty()) std::filesystem::remove_all(point_);
  }

  void mount() {
    auto server = FuseServer::mount(layer_, options_);
    if (!server && server.error().code == ErrorCode::kIo && ::geteuid() != 0) {
      GTEST_SKIP() << "FUSE cannot be used here: " << server.error().to_string();
    }
    ASSERT_TRUE(server.has_value()) << server.error().to_string();
    server_ = std::move(*server);
    stop_ = std::stop_source();
    ready_ = false;
    thread_ = std::thread([this] {
      const auto result = server_->serve(stop_.get_token(), [this] {
        const std::lock_guard lock(mutex_);
        ready_ = true;
        changed_.notify_all();
      });
      const std::lock_guard lock(mutex_);
      served_ = result;
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready_; });
  }
  // By SIGTERM's way.
  void unmount() {
    if (!thread_.joinable()) return;
    stop_.request_stop();
    wait_for_end();
  }
  void wait_for_end() {
    thread_.join();
    server_.reset();
  }

  std::string path(const std::string& name) const { return point_ + "/" + name; }
  UniqueFd opened(const std::string& name, int flags, mode_t mode = 0644) const {
    return UniqueFd(::open(path(name).c_str(), flags | O_CLOEXEC, mode));
  }
  void write_file(const std::string& name, std::string_view content) const {
    const UniqueFd file = opened(name, O_CREAT | O_TRUNC | O_WRONLY);
    ASSERT_TRUE(file) << strerror(errno);
    ASSERT_EQ(::write(file.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
  }
  std::string content_of(const std::string& name) const {
    const UniqueFd file = opened(name, O_RDONLY);
    if (!file) return std::string("error: ") + strerror(errno);
    std::string content;
    std::string piece(uint64_t{1} << 20, '\0');
    for (;;) {
      const ssize_t got = ::read(file.get(), piece.data(), piece.size());
      if (got < 0) return std::string("error: ") + strerror(errno);
      if (got == 0) return content;
      content.append(piece, 0, static_cast<size_t>(got));
    }
  }
  struct stat status_of(const std::string& name) const {
    struct stat status {};
    EXPECT_EQ(::lstat(path(name).c_str(), &status), 0) << name << ": " << strerror(errno);
    return status;
  }
  bool logged(const std::string& text) {
    const std::lock_guard lock(mutex_);
    return log_.find(text) != std::string::npos;
  }

  bool mount_at_start_ = true;
  FakeFileLayer layer_;
  FuseServerOptions options_;
  std::string point_;
  std::unique_ptr<FuseServer> server_;
  std::optional<Result<void>> served_;

 private:
  std::stop_source stop_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;
  std::string log_;
};

}  // namespace atl::fs
