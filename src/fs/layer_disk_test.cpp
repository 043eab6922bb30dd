// Local contents on a disk that fails: at the n-th system call for every n, or from there on. What an operation said yes to
// is there, also after a crash; one that said no has happened, wholly or in part, or has not; nothing else changes, and no
// byte is another file's or older than it says.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <linux/fs.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <set>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

// Nullopt: there is no such file.
using Text = std::optional<std::string>;

// A disk of which one call fails, or all from that one on. Thread safe.
class FailingDisk {
 public:
  void fail_at(int call, bool for_good, int error) {
    const std::lock_guard lock(mutex_);
    left_ = call;
    for_good_ = for_good;
    error_ = error;
    works_ = failed_ = false;
    calls_.clear();
  }
  void mend() {
    const std::lock_guard lock(mutex_);
    works_ = true;
  }
  void go_on_failing() {
    const std::lock_guard lock(mutex_);
    works_ = false;
  }
  bool failed() const {
    const std::lock_guard lock(mutex_);
    return failed_;
  }
  std::set<std::string> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

  int operator()(std::string_view call) {
    const std::lock_guard lock(mutex_);
    if (works_) return 0;
    calls_.emplace(call);
    if (left_ > 0) {
      --left_;
      return 0;
    }
    if (failed_ && !for_good_) return 0;
    failed_ = true;
    return error_;
  }

 private:
  mutable std::mutex mutex_;
  int left_ = 0;
  bool for_good_ = false;
  int error_ = 0;
  bool works_ = true;
  bool failed_ = false;
  std::set<std::string> calls_;
};

class LayerDiskTest : public testing::Test {
 protected:
  LayerDiskTest() : remote_(std::make_shared<storage::FakeRemote>()), machine_(remote_, memory()) {
    machine_.options.exports = ExportPolicy::kOnDemand;
    machine_.options.disk_fault = [this](std::string_view call) { return disk_(call); };
    remote_->put("object", pattern('o', 20'000));
    remote_->put("other", pattern('p', 9'000));
  }
  // Thousands of times until the disk has it would take minutes.
  static std::filesystem::path memory() {
    return std::filesystem::is_directory("/dev/shm") ? "/dev/shm"
                                                     : std::filesystem::temp_directory_path();
  }
  static std::string pattern(char first, size_t size) {
    std::string text(size, ' ');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(first + i / 1000 % 8);
    return text;
  }
  Text content(const std::string& path) {
    const auto read = machine_.read(path);
    if (!read && read.error().error_number == ENOENT) return std::nullopt;
    EXPECT_TRUE(read) << path << ": " << read.error().reason;
    return read ? Text(*read) : std::nullopt;
  }

  // Whether every byte is as it was before or as it was to be, and so is the length.
  static bool is_between(const Text& seen, const std::vector<Text>& states) {
    if (!seen) return std::ranges::find(states, seen) != states.end();
    const auto has = [&](const auto& what) { return std::ranges::any_of(states, what); };
    if (!has([&](const Text& state) { return state && state->size() == seen->size(); }))
      return false;
    for (size_t i = 0; i < seen->size(); ++i) {
      const auto is_here = [&](const Text& state) {
        return state && i < state->size() && (*state)[i] == (*seen)[i];
      };
      if (!has(is_here)) return false;
    }
    return true;
  }
  // `run` makes the content of `path` `after`, by way of `between` if need be.
  void step(const std::string& path,
            const Text& after,
            const std::function<int()>& run,
            const std::vector<Text>& between = {}) {
    if (HasFatalFailure()) return;
    const int error = run();
    disk_.mend();
    const Text seen = content(path);
    if (error == 0) {
      ASSERT_EQ(seen, after) << path;
    } else {
      std::vector<Text> states = between;
      states.push_back(expected_[path]);
      states.push_back(after);
      ASSERT_TRUE(is_between(seen, states))
          << path << " is neither as before nor as it was to be: " << seen.value_or("(none)");
    }
    expected_[path] = seen;
    disk_.go_on_failing();
  }
  int set_size(const std::string& path, uint64_t size) {
    return machine_.set_attributes(path, {.size_bytes = size});
  }
  // Into the file that is there, so far as it is.
  void overwrite(const std::string& path, uint64_t offset, const std::string& bytes) {
    if (HasFatalFailure() || !expected_[path]) return;
    std::string after = *expected_[path];
    after.resize(std::max(after.size(), offset + bytes.size()));
    after.replace(offset, bytes.size(), bytes);
    step(path, after, [&] { return machine_.write_at(path, offset, bytes); });
  }
  void resize(const std::string& path, uint64_t size) {
    if (HasFatalFailure() || !expected_[path]) return;
    std::string after = *expected_[path];
    after.resize(size);
    step(path, after, [&] { return set_size(path, size); });
  }

  void all_operations() {
    // New; replaced by opening it with O_TRUNC.
    step("new", "content of new", [&] { return machine_.write("new", "content of new"); }, {""});
    step("new", "again", [&] { return machine_.write("new", "again"); }, {""});
    overwrite("new", 3, "INSIDE AND BEYOND");
    // What was cut off does not come back, neither by a hole nor by growing.
    resize("new", 2);
    resize("new", 30);
    resize("new", 1);
    overwrite("new", 40, "behind a hole");
    // Within an object: pieces of it and pieces of ours.
    overwrite("object", 5'000, "here");
    overwrite("object", 12'000, std::string(3'000, 'x'));
    resize("object", 14'000);
    resize("object", 16'000);
    overwrite("object", 15'000, "end");
    read_in_pieces("object");
    // By way of a handle that stays open while its file goes.
    unlink_while_open();
    // Another name; its bytes are still those of the object, which is written anew meanwhile.
    rename_and_export();
  }
  void read_in_pieces(const std::string& path) {
    if (HasFatalFailure()) return;
    const auto read = machine_.read(path);
    if (read) {
      EXPECT_EQ(Text(*read), expected_[path]);
    }
  }
  void unlink_while_open() {
    if (HasFatalFailure()) return;
    const auto handle = machine_.open("gone", O_RDWR | O_CREAT);
    if (!handle) {
      if (content_when_mended("gone")) machine_.unlink("gone");
      return;
    }
    ASSERT_EQ(machine_.unlink("gone"), 0);
    const std::string text = "still here";
    const auto written = machine_.layer().write(*handle, 0, std::as_bytes(std::span(text)));
    if (written) {
      EXPECT_EQ(machine_.read(*handle, 0, 100), text);
    }
    machine_.close(*handle);
  }
  Text content_when_mended(const std::string& path) {
    disk_.mend();
    Text found = content(path);
    disk_.go_on_failing();
    return found;
  }
  void rename_and_export() {
    if (HasFatalFailure()) return;
    ASSERT_EQ(machine_.rename("other", "moved"), 0);
    expected_["moved"] = expected_["other"];
    expected_["other"] = std::nullopt;
    overwrite("moved", 100, "ours");
    step("other", "new other", [&] { return machine_.write("other", "new other"); }, {""});
    // Fails or not: the files are what they are.
    (void)machine_.layer().export_now("", {}, nullptr);
  }

  void expect_all(const std::string& when) {
    for (const auto& [path, text] : expected_) {
      ASSERT_EQ(content(path), text) << path << ' ' << when;
    }
  }

  std::shared_ptr<storage::FakeRemote> remote_;
  FailingDisk disk_;
  Machine machine_;
  std::map<std::string, Text> expected_;
};

TEST_F(LayerDiskTest, no_failing_call_loses_what_succeeded_or_brings_back_what_was_cut_off) {
  std::set<std::string> kinds;
  for (const bool for_good : {false, true}) {
    const int error = for_good ? ENOSPC : EIO;
    int n = 0;
    // An operation makes three calls and more, and where all fail the first is what counts.
    for (bool reached = true; reached; n += for_good ? 3 : 1) {
      SCOPED_TRACE(fmt::format("call {} {}", n, for_good ? "and all after it" : "alone"));
      machine_.stop();
      std::filesystem::remove_all(machine_.directory());
      std::filesystem::create_directory(machine_.directory());
      for (const char* key : {"new", "moved", "gone"}) remote_->erase(key);
      remote_->put("object", pattern('o', 20'000));
      remote_->put("other", pattern('p', 9'000));
      expected_ = {{"object", pattern('o', 20'000)}, {"other", pattern('p', 9'000)}, {"new", {}}};
      disk_.mend();
      machine_.start();
      disk_.fail_at(n, for_good, error);
      all_operations();
      reached = disk_.failed();
      kinds.merge(disk_.calls());
      disk_.mend();
      if (HasFatalFailure()) return;
      expect_all("when the disk works again");
      machine_.crash();
      machine_.start();
      expect_all("after a crash");
      machine_.settle();
      for (const auto& [path, text] : expected_) ASSERT_EQ(remote_->content(path), text) << path;
      if (HasFailure()) return;
    }
    EXPECT_GT(n, 40);
  }
  for (const char* kind : {"open", "pread", "pwrite", "ftruncate", "fdatasync", "fstat"}) {
    EXPECT_TRUE(kinds.contains(kind)) << kind;
  }
}

TEST_F(LayerDiskTest, starting_fails_or_works_whichever_call_fails) {
  machine_.start();
  ASSERT_EQ(machine_.write("new", "content"), 0);
  ASSERT_EQ(machine_.write_at("object", 100, "ours"), 0);
  // Written, not noted, and so behind the end after a crash.
  const auto handle = machine_.open("new", O_WRONLY);
  ASSERT_TRUE(handle);
  const std::string more = "never noted";
  ASSERT_TRUE(machine_.layer().write(*handle, 7, std::as_bytes(std::span(more))));
  machine_.copy_state();
  machine_.close(*handle);
  machine_.stop();
  const auto crashed = machine_.directory() / "crashed";
  std::filesystem::rename(machine_.directory() / "copy", crashed);
  std::string object = pattern('o', 20'000);
  object.replace(100, 4, "ours");
  int failures = 0;
  for (int n = 0; n == failures; ++n) {
    machine_.stop();
    std::filesystem::remove_all(machine_.options.directory);
    std::filesystem::copy(
        crashed, machine_.options.directory, std::filesystem::copy_options::recursive);
    disk_.fail_at(n, false, EIO);
    const auto started = machine_.try_start();
    failures += disk_.failed() ? 1 : 0;
    EXPECT_NE(started.has_value(), disk_.failed()) << n;
    disk_.mend();
    if (!started) machine_.start();
    EXPECT_EQ(content("new"), "content") << n;
    EXPECT_EQ(content("object"), object) << n;
    ASSERT_EQ(set_size("new", 10), 0);
    EXPECT_EQ(content("new"), std::string("content\0\0\0", 10)) << n;
  }
  EXPECT_GT(failures, 2);
}

}  // namespace
}  // namespace atl::fs
