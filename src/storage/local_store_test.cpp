// What only a directory has: links, odd files, full disks, killed writers.
#include "storage/local_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/unique_fd.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LocalStoreTest : public ::testing::Test {
 protected:
  LocalStoreTest() {
    std::string name = (fs::temp_directory_path() / "atoll-local-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    store_ = std::make_unique<LocalStore>(root_.string());
  }
  ~LocalStoreTest() override { fs::remove_all(root_); }

  std::vector<std::string> keys() {
    std::vector<std::string> keys;
    EXPECT_TRUE(store_->list("", [&](const ObjectInfo& info) {
      keys.push_back(info.key);
      return true;
    }));
    return keys;
  }
  size_t files_in(const fs::path& directory) const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
  }

  fs::path root_;
  std::unique_ptr<LocalStore> store_;
};

// Files of this process end at `bytes`, as on a full disk (EFBIG instead of ENOSPC).
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_{};
};

TEST_F(LocalStoreTest, a_put_that_fails_in_the_middle_leaves_the_old_content_and_no_rest) {
  ASSERT_TRUE(put_text(*store_, "runs/model", "old"));
  {
    const FileSizeLimit limit(100'000);
    const auto result = put_text(*store_, "runs/model", std::string(1'000'000, 'n'));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kIo);
    EXPECT_THAT(result.error().to_string(), HasSubstr((root_ / "runs/model").string()));
  }
  EXPECT_EQ(store_->get("runs/model").value().text(), "old");
  EXPECT_EQ(files_in(root_ / "runs"), 1);
}

TEST_F(LocalStoreTest, a_full_disk_is_noticed_when_a_place_is_opened_for_writing) {
  const std::string out = (root_ / "out").string();
  {
    const FileSizeLimit limit(10'000);
    const auto opened = open_store(out, true);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kIo);
    EXPECT_THAT(opened.error().to_string(), HasSubstr(out));
  }
  EXPECT_EQ(files_in(out), 0);
  EXPECT_TRUE(open_store(out, true));
}

TEST_F(LocalStoreTest, an_append_that_fails_in_the_middle_takes_its_part_back) {
  ASSERT_TRUE(put_text(*store_, "log", "line\n"));
  const std::string long_line(1000, 'x');
  {
    const FileSizeLimit limit(100);
    EXPECT_FALSE(store_->append("log", std::as_bytes(std::span(long_line))));
  }
  EXPECT_EQ(store_->get("log").value().text(), "line\n");
}

// A child puts as fast as it can and is killed while it does; whoever reads, during and after, sees
// one whole object.
TEST_F(LocalStoreTest, readers_of_a_killed_writer_see_whole_objects_only) {
  constexpr size_t kSizeBytes = 1'500'000;  // read through a map
  ASSERT_TRUE(put_text(*store_, "k", std::string(kSizeBytes, 'a')));
  const auto is_whole = [&] {
    const Blob blob = store_->get("k").value();
    const std::string_view text = blob.text();
    return text.size() == kSizeBytes && text.find_first_not_of(text[0]) == std::string_view::npos;
  };
  for (int round = 0; round < 5; ++round) {
    const pid_t writer = ::fork();
    if (writer == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // should this test die, the child goes, too
      for (char c = 'a';; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
        if (!put_text(*store_, "k", std::string(kSizeBytes, c))) ::_exit(1);
      }
    }
    ASSERT_GT(writer, 0);
    const std::string before = store_->head("k").value().etag;
    while (store_->head("k").value().etag == before) {
      ASSERT_EQ(::waitpid(writer, nullptr, WNOHANG), 0) << "the writer has ended";
    }
    for (int read = 0; read < 3 + round; ++read) ASSERT_TRUE(is_whole());
    ASSERT_EQ(::kill(writer, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(writer, &status, 0), writer);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_TRUE(is_whole());
    EXPECT_THAT(keys(), ElementsAre("k"));
  }
}

TEST_F(LocalStoreTest, old_leftovers_are_removed_but_neither_fresh_nor_locked_ones) {
  const auto leave = [&](const char* name, std::time_t age_s) {
    std::ofstream(root_ / name) << "part";
    const timespec time{std::time(nullptr) - age_s, 0};
    const timespec times[] = {time, time};
    ASSERT_EQ(::utimensat(AT_FDCWD, (root_ / name).c_str(), times, 0), 0);
  };
  leave(".atoll-tmp-1-1", 3600);
  leave(".atoll-tmp-1-2", 0);
  leave(".atoll-tmp-1-3", 3600);
  const UniqueFd locked(::open((root_ / ".atoll-tmp-1-3").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::flock(locked.get(), LOCK_EX), 0);
  ASSERT_TRUE(put_text(*store_, "k", "v"));
  EXPECT_FALSE(fs::exists(root_ / ".atoll-tmp-1-1"));
  EXPECT_TRUE(fs::exists(root_ / ".atoll-tmp-1-2"));
  EXPECT_TRUE(fs::exists(root_ / ".atoll-tmp-1-3"));
  EXPECT_THAT(keys(), ElementsAre("k"));
}

TEST_F(LocalStoreTest, the_owners_links_are_followed) {
  fs::create_directories(root_ / "elsewhere/images");
  std::ofstream(root_ / "elsewhere/images/1.jpg") << "jpeg";
  fs::create_directory(root_ / "data");
  fs::create_directory_symlink("../elsewhere/images", root_ / "data/train2017");
  fs::create_symlink("../elsewhere/images/1.jpg", root_ / "data/copy.jpg");
  fs::create_symlink("nowhere", root_ / "data/dangling");
  LocalStore store((root_ / "data").string());
  EXPECT_EQ(store.get("train2017/1.jpg").value().text(), "jpeg");
  std::vector<std::string> keys;
  ASSERT_TRUE(store.list("", [&](const ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  }));
  EXPECT_THAT(keys, ElementsAre("copy.jpg", "train2017/1.jpg"));
  EXPECT_EQ(store.get("dangling").error().code, ErrorCode::kNotFound);

  ASSERT_TRUE(put_text(store, "copy.jpg", "new"));  // replaces the link, not what it names
  EXPECT_EQ(store.get("train2017/1.jpg").value().text(), "jpeg");
  EXPECT_EQ(store.get("copy.jpg").value().text(), "new");
}

TEST_F(LocalStoreTest, a_link_to_its_own_parent_does_not_trap_the_listing) {
  ASSERT_TRUE(put_text(*store_, "a/b/file", "x"));
  fs::create_directory_symlink("..", root_ / "a/b/up");
  fs::create_directory_symlink(root_, root_ / "a/top");
  fs::create_symlink("self", root_ / "self");
  EXPECT_THAT(keys(), ElementsAre("a/b/file"));
  EXPECT_EQ(store_->get("self").error().code, ErrorCode::kIo);
}

TEST_F(LocalStoreTest, a_pipe_is_refused_at_once_and_not_listed) {
  ASSERT_EQ(::mkfifo((root_ / "pipe").c_str(), 0600), 0);
  const auto result = store_->get("pipe");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().to_string(), HasSubstr("not a regular file"));
  EXPECT_FALSE(store_->append("pipe", {}));
  EXPECT_THAT(keys(), ElementsAre());
}

TEST_F(LocalStoreTest, a_file_in_the_way_of_a_directory_is_named) {
  ASSERT_TRUE(put_text(*store_, "a", "x"));
  const auto below = put_text(*store_, "a/b", "y");
  ASSERT_FALSE(below);
  EXPECT_THAT(below.error().to_string(), HasSubstr((root_ / "a").string()));
  ASSERT_TRUE(put_text(*store_, "d/e", "y"));
  EXPECT_FALSE(put_text(*store_, "d", "z"));
  EXPECT_EQ(files_in(root_), 2);
  EXPECT_EQ(store_->get("a").value().text(), "x");
}

TEST_F(LocalStoreTest, a_claimed_directory_is_refused_to_others_until_the_claim_ends) {
  LocalStore other(root_.string() + "/");
  {
    const auto claim = store_->claim();
    ASSERT_TRUE(claim) << claim.error().to_string();
    EXPECT_TRUE(claim->note.empty());
    for (LocalStore* store : {&other, store_.get()}) {
      const auto refused = store->claim();
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::kInvalidInput);
      EXPECT_THAT(refused.error().to_string(), HasSubstr(root_.string() + ": another run"));
    }
    ASSERT_TRUE(put_text(other, "k", "v"));  // a claim hinders nobody who does not ask
  }
  EXPECT_TRUE(other.claim());
  EXPECT_THAT(keys(), ElementsAre("k"));
}

TEST_F(LocalStoreTest, the_claim_of_a_killed_process_ends_with_it) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto claim = LocalStore(root_.string()).claim();
    const char answer = claim ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  ASSERT_GT(holder, 0);
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  EXPECT_FALSE(store_->claim());
  ASSERT_EQ(::kill(holder, SIGKILL), 0);
  ASSERT_EQ(::waitpid(holder, nullptr, 0), holder);
  EXPECT_TRUE(store_->claim());
  ::close(ready[0]);
  ::close(ready[1]);
}

// As NFS and some FUSE file systems answer.
TEST_F(LocalStoreTest, a_directory_that_cannot_be_locked_is_given_with_a_note) {
  for (const int error : {ENOLCK, EBADF, EOPNOTSUPP}) {
    const auto claim = claim_directory(root_.string(), [&](int, int) {
      errno = error;
      return -1;
    });
    ASSERT_TRUE(claim) << claim.error().to_string();
    EXPECT_THAT(claim->note, HasSubstr(root_.string() + " cannot be locked"));
  }
  EXPECT_EQ(LocalStore(root_.string() + "/not there").claim().error().code, ErrorCode::kNotFound);
}

TEST_F(LocalStoreTest, a_lock_that_a_signal_interrupts_is_asked_for_again) {
  int asked = 0;
  const auto claim = claim_directory(root_.string(), [&](int fd, int operation) {
    errno = EINTR;
    return ++asked < 3 ? -1 : ::flock(fd, operation);
  });
  ASSERT_TRUE(claim);
  EXPECT_EQ(asked, 3);
  EXPECT_TRUE(claim->note.empty());
  EXPECT_FALSE(store_->claim());
}

TEST_F(LocalStoreTest, threads_that_put_one_key_leave_one_of_their_contents) {
  std::vector<std::thread> threads;
  for (char c = 'a'; c < 'e'; ++c) {
    threads.emplace_back([this, c] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(put_text(*store_, "new/k", std::string(10'000, c)));
        const std::string line = std::string(3, c) + "\n";
        EXPECT_TRUE(store_->append("new/log", std::as_bytes(std::span(line))));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const Blob blob = store_->get("new/k").value();
  EXPECT_EQ(blob.text().find_first_not_of(blob.text()[0]), std::string_view::npos);
  EXPECT_EQ(blob.size(), 10'000);
  const Blob log = store_->get("new/log").value();
  ASSERT_EQ(log.size(), 4 * 80);
  for (size_t i = 0; i < log.size(); i += 4) {
    EXPECT_EQ(log.text()[i], log.text()[i + 2]);
    EXPECT_EQ(log.text()[i + 3], '\n');
  }
  EXPECT_EQ(files_in(root_ / "new"), 2);
}

}  // namespace
}  // namespace atl::storage
