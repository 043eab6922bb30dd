#include "storage/file_lock.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

namespace atl::storage {
namespace {

namespace fs = std::filesystem;

class FileLocks : public testing::Test {
 protected:
  FileLocks() {
    std::string name = (fs::temp_directory_path() / "atoll-lock-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    path_ = (folder_ / "cache/x.lock").string();
  }
  ~FileLocks() override { fs::remove_all(folder_); }

  fs::path folder_;
  std::string path_;
};

TEST_F(FileLocks, are_held_by_one_at_a_time_and_leave_no_file) {
  std::atomic<int> holders = 0;
  std::atomic<int> taken = 0;
  std::vector<std::jthread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&](const std::stop_token& stop) {
      for (int round = 0; round < 10; ++round) {
        const auto lock = FileLock::take(path_, stop);
        ASSERT_TRUE(lock) << lock.error().to_string();
        EXPECT_EQ(++holders, 1);
        ++taken;
        --holders;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(taken, 80);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(FileLocks, who_waits_says_so_once_and_may_be_stopped) {
  std::stop_source source;
  int told = 0;
  const auto lock = FileLock::take(path_, {}, [&] { ++told; });
  ASSERT_TRUE(lock);
  EXPECT_EQ(told, 0);
  const auto second = FileLock::take(path_, source.get_token(), [&] {
    ++told;
    source.request_stop();
  });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(told, 1);
}

TEST_F(FileLocks, of_a_process_that_died_are_free) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = FileLock::take(path_, {});
    ::_exit(lock ? 0 : 1);  // without the destructor
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(fs::exists(path_));
  EXPECT_TRUE(FileLock::take(path_, {}, [] { ADD_FAILURE() << "it is held"; }));
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(FileLocks, where_there_can_be_no_file_are_an_error) {
  std::ofstream(folder_ / "cache") << "a file";
  EXPECT_FALSE(FileLock::take(path_, {}));
}

}  // namespace
}  // namespace atl::storage
