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

// What is noted in the journal without the disk having it is no reason for a close, an fsync or an export not to wait for the
// disk.
class LayerSyncTest : public testing::Test {
 protected:
  LayerSyncTest() : remote_(std::make_shared<storage::FakeRemote>()), machine_(remote_) {
    machine_.options.exports = ExportPolicy::kOnDemand;
    machine_.options.disk_fault = [this](std::string_view call) {
      if (call == "fsync" && place_fails_) return EIO;
      if (call != "fdatasync") return 0;
      ++syncs_;
      if (while_syncing_) while_syncing_();
      return sync_fails_ ? EIO : 0;
    };
    machine_.start();
    open_ = *machine_.open("new", O_RDWR | O_CREAT);
    const std::string bytes = "content";
    EXPECT_TRUE(machine_.layer().write(open_, 0, std::as_bytes(std::span(bytes))));
  }
  std::shared_ptr<storage::FakeRemote> remote_;
  std::atomic<int> syncs_ = 0;
  std::atomic<bool> sync_fails_ = false;
  std::atomic<bool> place_fails_ = false;
  std::function<void()> while_syncing_;
  Machine machine_;
  Handle open_ = 0;
};

TEST_F(LayerSyncTest, a_close_waits_for_the_disk_after_the_journal_was_told) {
  ASSERT_EQ(machine_.set_attributes("new", {.size_bytes = 100}), 0);  // notes what there is
  EXPECT_EQ(syncs_, 0);
  EXPECT_EQ(error_of(machine_.layer().flush(open_)), 0);
  EXPECT_EQ(syncs_, 1);
  EXPECT_EQ(error_of(machine_.layer().flush(open_)), 0);
  EXPECT_EQ(syncs_, 1);
}

TEST_F(LayerSyncTest, an_fsync_waits_for_the_disk_after_a_truncation) {
  ASSERT_EQ(machine_.set_attributes("new", {.size_bytes = 100}), 0);
  EXPECT_EQ(syncs_, 0);
  EXPECT_EQ(error_of(machine_.layer().fsync(open_)), 0);
  EXPECT_EQ(syncs_, 1);
}

TEST_F(LayerSyncTest, the_journal_is_told_of_an_open_files_bytes_when_the_disk_has_them) {
  ASSERT_EQ(machine_.make_directory("d"), 0);
  EXPECT_TRUE(machine_.layer().export_now("d", {}, nullptr));  // notes what is open
  EXPECT_EQ(syncs_, 1);
  ASSERT_EQ(machine_.write_at("new", 0, "C"), 0);
  EXPECT_EQ(syncs_, 2);
  const std::string bytes = "N";
  ASSERT_TRUE(machine_.layer().write(open_, 3, std::as_bytes(std::span(bytes))));
  // What is left, before it is noted.
  ASSERT_EQ(machine_.set_attributes("new", {.size_bytes = 5}), 0);
  EXPECT_EQ(syncs_, 3);
}

TEST_F(LayerSyncTest, what_is_left_of_the_buckets_bytes_is_on_the_disk_before_it_is_noted) {
  remote_->put("object", std::string(20'000, 'o'));
  machine_.age();
  for (const uint64_t size_bytes : {10'000U, 30'000U}) {
    const auto open = machine_.open("object", O_RDWR);
    ASSERT_TRUE(open);
    const std::string bytes = "here";
    ASSERT_TRUE(machine_.layer().write(*open, 0, std::as_bytes(std::span(bytes))));
    const int before = syncs_;
    ASSERT_EQ(machine_.set_attributes("object", {.size_bytes = size_bytes}), 0);
    EXPECT_EQ(syncs_, before + 1) << size_bytes;
    machine_.close(*open);
  }
}

TEST_F(LayerSyncTest,
       what_an_export_has_fetched_for_an_open_file_is_on_the_disk_before_its_base_goes) {
  remote_->put("object", std::string(20'000, 'o'));
  machine_.age();
  ASSERT_EQ(machine_.rename("object", "moved"), 0);
  ASSERT_EQ(machine_.write("object", "another one"), 0);
  const auto open = machine_.open("moved", O_RDWR);
  ASSERT_TRUE(open);
  const std::string bytes = "here";
  ASSERT_TRUE(machine_.layer().write(*open, 10'000, std::as_bytes(std::span(bytes))));
  sync_fails_ = true;
  EXPECT_FALSE(machine_.layer().export_now("object", {}, nullptr));
  EXPECT_EQ(machine_.set_attributes("moved", {.size_bytes = 20'001}), EIO);
  sync_fails_ = false;
  EXPECT_EQ(machine_.set_attributes("moved", {.size_bytes = 20'001}), 0);
  machine_.close(*open);
  machine_.settle();
  EXPECT_EQ(remote_->content("moved")->substr(9'998, 8), "oohereoo");
}

TEST_F(LayerSyncTest, what_the_journal_could_not_be_told_of_takes_no_room) {
  remote_->put("object", std::string(20'000, 'o'));
  machine_.age();
  ASSERT_EQ(machine_.rename("object", "moved"), 0);
  ASSERT_EQ(machine_.write("object", "another one"), 0);
  const auto open = machine_.open("moved", O_RDWR);
  ASSERT_TRUE(open);
  const auto local_files = [&] {
    const std::filesystem::directory_iterator files(machine_.options.directory + "/files");
    return std::distance(begin(files), end(files));
  };
  place_fails_ = true;
  EXPECT_FALSE(machine_.layer().export_now("object", {}, nullptr));
  EXPECT_EQ(error_of(machine_.layer().sync_directories()), 0);
  EXPECT_EQ(local_files(), 3);  // somebody has it open
  machine_.close(*open);
  EXPECT_EQ(error_of(machine_.layer().sync_directories()), 0);
  EXPECT_EQ(local_files(), 2);
  place_fails_ = false;
  machine_.settle();
  EXPECT_EQ(remote_->content("moved"), std::string(20'000, 'o'));
}

TEST_F(LayerSyncTest, what_an_export_has_fetched_is_on_the_disk_before_it_is_noted) {
  const std::string object(9'000'000, 'o');
  remote_->put("object", object);
  machine_.age();
  ASSERT_EQ(machine_.rename("object", "moved"), 0);
  ASSERT_EQ(machine_.write("object", "another one"), 0);
  const auto open = machine_.open("moved", O_RDWR);  // so that it gets its bytes, and is no copy
  ASSERT_TRUE(open);
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("read ") || remote_->counts().bytes_read < 5'000'000) return std::nullopt;
    return Error{ErrorCode::kIo, std::string(call), {}, {}};
  });
  EXPECT_FALSE(machine_.layer().export_now("object", {}, nullptr));
  remote_->set_fault(nullptr);
  const int before = syncs_;
  const std::string bytes = "here";
  ASSERT_TRUE(machine_.layer().write(*open, 0, std::as_bytes(std::span(bytes))));
  EXPECT_EQ(syncs_, before + 1);
  machine_.close(*open);
}

TEST_F(LayerSyncTest, what_is_written_while_the_disk_is_waited_for_is_noted_another_time) {
  std::atomic<bool> wrote = false;
  while_syncing_ = [&] {
    if (wrote.exchange(true)) return;
    const std::string bytes = "more";
    EXPECT_TRUE(machine_.layer().write(open_, 7, std::as_bytes(std::span(bytes))));
  };
  ASSERT_EQ(machine_.make_directory("d"), 0);
  EXPECT_TRUE(machine_.layer().export_now("d", {}, nullptr));  // notes what is open
  EXPECT_TRUE(wrote);
  machine_.copy_state();
  EXPECT_EQ(error_of(machine_.layer().flush(open_)), 0);
  machine_.crash_to_copy();
  machine_.start();
  EXPECT_EQ(machine_.look("new")->size_bytes, 7U);
}

TEST_F(LayerSyncTest,
       an_fsync_through_a_handle_that_only_reads_waits_for_what_others_have_written) {
  const auto reading = machine_.open("new", O_RDONLY);
  ASSERT_TRUE(reading);
  EXPECT_EQ(error_of(machine_.layer().fsync(*reading)), 0);
  EXPECT_EQ(syncs_, 1);
  EXPECT_EQ(error_of(machine_.layer().fsync(*reading)), 0);
  EXPECT_EQ(syncs_, 1);
  machine_.close(*reading);
}

TEST_F(LayerSyncTest, an_export_waits_for_the_disk) {
  int before_upload = -1;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call == "upload new") before_upload = syncs_;
    return std::nullopt;
  });
  EXPECT_TRUE(machine_.layer().export_now("new", {}, nullptr));
  EXPECT_EQ(before_upload, 1);
}

TEST_F(LayerSyncTest, a_truncation_by_the_path_waits_for_the_disk) {
  machine_.close(open_);
  const int before = syncs_;
  ASSERT_EQ(machine_.set_attributes("new", {.size_bytes = 100}), 0);
  EXPECT_EQ(syncs_, before + 1);
  machine_.close(*machine_.open("new", O_RDONLY | O_TRUNC));
  EXPECT_EQ(syncs_, before + 2);
}

TEST_F(LayerSyncTest, a_local_content_that_somebody_has_removed_is_an_error_of_its_export) {
  remote_->put("a", "alpha");
  machine_.close(open_);
  machine_.stop();
  std::filesystem::remove_all(machine_.options.directory + "/files");
  std::filesystem::create_directory(machine_.options.directory + "/files");
  machine_.start();
  machine_.age();
  ASSERT_EQ(machine_.rename("a", "new", RENAME_EXCHANGE), 0);
  EXPECT_FALSE(machine_.layer().export_now("", {}, nullptr));
}

}  // namespace
}  // namespace atl::fs
