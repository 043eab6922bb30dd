// Several processes on one database, and processes that are killed. Each makes its own bucket, of the
// same content; nothing here runs a thread before it forks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <functional>
#include <set>
#include <utility>

#include "storage/fake_remote.h"
#include "storage/namespace/namespace.h"

namespace atl::storage {
namespace {

constexpr int kObjects = 400;
constexpr size_t kPageKeys = 10;

std::string key_of(int i) { return "d" + std::to_string(i % 7) + "/" + std::to_string(i); }

std::shared_ptr<FakeRemote> make_bucket() {
  auto bucket = std::make_shared<FakeRemote>();
  bucket->set_page_keys(kPageKeys);
  for (int i = 0; i < kObjects; ++i) bucket->put(key_of(i), "x");
  return bucket;
}

class NamespaceProcessTest : public testing::Test {
 protected:
  NamespaceProcessTest() {
    std::string pattern = testing::TempDir() + "names-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "no temporary directory";
    options_.directory = pattern;
    options_.max_age = std::chrono::hours(1);
  }
  ~NamespaceProcessTest() override { std::filesystem::remove_all(options_.directory); }

  // In a process of its own, which ends with what the function gives.
  static pid_t start(const std::function<int()>& work) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work());
    return child;
  }
  static int wait_for(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  void expect_whole_after_import() {
    auto names = Namespace::open(make_bucket(), options_);
    ASSERT_TRUE(names) << names.error().to_string();
    EXPECT_TRUE((*names)->lookup(key_of(5)));
    const auto counts = (*names)->import({}, {}, {}, {});
    ASSERT_TRUE(counts) << counts.error().to_string();
    EXPECT_EQ(counts->deleted, 0U);
    std::set<std::string> keys;
    ASSERT_TRUE(
        (*names)->list("", [&](const ObjectInfo& info) { return keys.insert(info.key).second; }));
    EXPECT_EQ(keys.size(), static_cast<size_t>(kObjects));
  }

  NamespaceOptions options_;
};

TEST_F(NamespaceProcessTest, a_second_import_waits_for_the_first_and_shares_its_result) {
  std::array<int, 2> started{};
  std::array<int, 2> asked{};
  ASSERT_EQ(::pipe(started.data()) + ::pipe(asked.data()), 0);
  const pid_t first = start([&] {
    auto bucket = make_bucket();
    bool told = false;
    bucket->set_fault([&](std::string_view) -> std::optional<Error> {
      char byte = 'x';
      if (!std::exchange(told, true) &&
          (::write(started[1], &byte, 1) != 1 || ::read(asked[0], &byte, 1) != 1)) {
        return Error{ErrorCode::kIo, "the pipe is broken", {}, {}};
      }
      return std::nullopt;
    });
    options_.max_age = std::chrono::seconds(0);
    auto names = Namespace::open(bucket, options_);
    // One listing at a time up to the first split, so `told` is one thread's.
    return names && (*names)->import("d0", {}, {}, {}) ? 0 : 1;
  });
  char byte = 'x';
  ASSERT_EQ(::read(started[0], &byte, 1), 1);
  bool told = false;
  auto options = options_;
  options.now = [&] {
    const auto now = std::chrono::system_clock::now();
    if (!std::exchange(told, true) && ::write(asked[1], &byte, 1) != 1) ADD_FAILURE();
    return now;
  };
  auto bucket = make_bucket();
  auto names = Namespace::open(bucket, options);
  ASSERT_TRUE(names);
  const auto counts = (*names)->import("d0/", {}, {}, {});
  ASSERT_TRUE(counts) << counts.error().to_string();
  EXPECT_EQ(counts->created, 58U);
  EXPECT_EQ(bucket->counts().lists, 0U);
  EXPECT_EQ(wait_for(first), 0);
  for (const int fd : {started[0], started[1], asked[0], asked[1]}) ::close(fd);
}

TEST_F(NamespaceProcessTest, a_process_killed_in_the_middle_of_an_import_leaves_a_usable_database) {
  for (int calls = 1; calls <= kObjects / static_cast<int>(kPageKeys); calls += 3) {
    const pid_t child = start([&] {
      auto bucket = make_bucket();
      std::atomic<int> left = calls;
      bucket->set_fault([&](std::string_view) -> std::optional<Error> {
        if (--left <= 0) ::kill(::getpid(), SIGKILL);
        return std::nullopt;
      });
      options_.max_age = std::chrono::seconds(0);
      auto names = Namespace::open(bucket, options_);
      if (names) (void)(*names)->import({}, {}, {}, {});
      return 1;
    });
    ASSERT_EQ(wait_for(child), 128 + SIGKILL);
  }
  expect_whole_after_import();
}

TEST_F(NamespaceProcessTest, a_process_killed_at_any_time_leaves_a_usable_database) {
  for (int round = 0; round < 25; ++round) {
    const pid_t child = start([&] {
      // Nobody handles SIGALRM, so it ends the process where it stands, as SIGKILL does.
      const itimerval timer{{0, 0}, {0, 1000 + 900 * round}};
      auto bucket = make_bucket();
      ::setitimer(ITIMER_REAL, &timer, nullptr);
      for (int i = 0;; ++i) {
        auto names = Namespace::open(bucket, options_);
        if (!names) return 1;
        bucket->put(key_of(i % kObjects), std::to_string(i));
        if (!(*names)->import({}, {}, {}, {})) return 2;
        if (!(*names)->record({"own/" + std::to_string(i), 1, {}, "\"e\""}, nullptr)) return 3;
        if (!(*names)->forget("own/" + std::to_string(i))) return 4;
      }
    });
    ASSERT_EQ(wait_for(child), 128 + SIGALRM);
  }
  expect_whole_after_import();
}

TEST_F(NamespaceProcessTest, processes_see_what_others_record) {
  {
    auto names = Namespace::open(make_bucket(), options_);
    ASSERT_TRUE(names && (*names)->import({}, {}, {}, {}));
  }
  std::vector<pid_t> children;
  for (int child = 0; child < 3; ++child) {
    children.push_back(start([&] {
      auto bucket = make_bucket();
      auto names = Namespace::open(bucket, options_);
      if (!names) return 1;
      const std::string prefix = "p" + std::to_string(child) + "/";
      for (int i = 0; i < 200; ++i) {
        const std::string key = prefix + std::to_string(i);
        if (!(*names)->record({key, 1, {}, "\"e\""}, nullptr)) return 2;
        if (!(*names)->lookup(key) || !(*names)->lookup(key_of(i))) return 3;
        if (i % 2 == 0 && !(*names)->forget(key)) return 4;
      }
      return bucket->counts().lists == 0 ? 0 : 5;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  auto bucket = make_bucket();
  auto names = *Namespace::open(bucket, options_);
  for (int child = 0; child < 3; ++child) {
    int count = 0;
    ASSERT_TRUE(names->children(
        "p" + std::to_string(child), {}, [&](const DirectoryEntry&) { return ++count > 0; }));
    EXPECT_EQ(count, 100);
  }
  EXPECT_EQ(bucket->counts().lists, 0U);
}

TEST_F(NamespaceProcessTest, a_database_that_another_process_replaced_is_taken_up) {
  auto bucket = make_bucket();
  auto names = *Namespace::open(bucket, options_);
  ASSERT_TRUE(names->import({}, {}, {}, {}));
  const auto lists = bucket->counts().lists;
  for (const auto& file : std::filesystem::directory_iterator(options_.directory)) {
    if (file.path().string().find(".db") != std::string::npos) std::filesystem::remove(file);
  }
  EXPECT_TRUE(names->lookup(key_of(3)));
  EXPECT_EQ(bucket->counts().lists, lists + 1);
  EXPECT_FALSE(names->imported_at());
}

}  // namespace
}  // namespace atl::storage
