// Power failures: of the journal there is what has been synced, while the local contents are as they were in the last moment.
// What was closed is there, and nothing passes for a file's content that never was.
#include <gmock/gmock.h>
#include <linux/fs.h>

#include <filesystem>

#include "fs/failing_files.h"
#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using std::filesystem::path;
using testing::AnyOf;
using testing::Contains;
using testing::Eq;

class LayerPowerTest : public LayerTest {
 protected:
  LayerPowerTest() {
    FailingFiles::get().never();
    machine_.start();
    EXPECT_EQ(machine_.write("first", "so that there is a journal"), 0);
    watch();
  }
  ~LayerPowerTest() override { FailingFiles::get().on_sync(nullptr); }

  void lose_power() {
    FailingFiles::get().on_sync(nullptr);
    const path files = machine_.directory() / "files-then";
    std::filesystem::remove_all(files);
    std::filesystem::copy(state() / "files", files, std::filesystem::copy_options::recursive);
    machine_.stop();
    std::filesystem::remove_all(state() / "files");
    std::filesystem::rename(files, state() / "files");
    copy_journal(durable(), state());
    machine_.start();
    watch();
  }
  // Here and, once it is there, in the bucket.
  std::string content(std::string_view name) {
    const auto here = machine_.read(name);
    machine_.settle();
    EXPECT_EQ(remote_->content(name).value_or("none"), here.value_or("none"));
    machine_.age();
    EXPECT_EQ(machine_.read(name).value_or("none"), here.value_or("none"));
    return here.value_or("none");
  }
  // What has been written through it is not closed; the machine stops first.
  void write_open(std::string_view name, int flags, uint64_t offset, const std::string& bytes) {
    const auto handle = machine_.open(name, flags);
    ASSERT_TRUE(handle);
    if (bytes.empty()) return;
    ASSERT_TRUE(machine_.layer().write(*handle, offset, std::as_bytes(std::span(bytes))));
  }

 private:
  void watch() {
    FailingFiles::get().on_sync([this] { copy_journal(state(), durable()); });
    EXPECT_EQ(error_of(machine_.layer().sync_directories()), 0);
  }
  path state() const { return machine_.options.directory; }
  path durable() const { return machine_.directory() / "durable"; }
  static void copy_journal(const path& from, const path& to) {
    std::filesystem::create_directories(to);
    for (const char* name : {"journal.db", "journal.db-wal", "journal.db-shm"}) {
      std::filesystem::remove(to / name);
      if (std::string_view(name).ends_with("shm")) continue;  // made again
      if (std::filesystem::exists(from / name)) std::filesystem::copy(from / name, to / name);
    }
  }
};

TEST_F(LayerPowerTest, a_file_that_was_put_in_anothers_place_is_the_old_or_the_new_one) {
  for (const bool exported : {false, true}) {
    const std::string name = exported ? "exported" : "config";
    ASSERT_EQ(machine_.write(name, "old"), 0);
    if (exported) machine_.settle();
    ASSERT_EQ(machine_.write("temporary", "new"), 0);
    ASSERT_EQ(machine_.rename("temporary", name), 0);
    lose_power();
    EXPECT_THAT(content(name), AnyOf(Eq("old"), Eq("new")));
  }
}

TEST_F(LayerPowerTest, an_unlinked_file_is_gone_or_whole) {
  ASSERT_EQ(machine_.write("new", "content"), 0);
  ASSERT_EQ(machine_.unlink("new"), 0);
  lose_power();
  EXPECT_THAT(content("new"), AnyOf(Eq("content"), Eq("none")));
}

TEST_F(LayerPowerTest, a_released_file_is_read_from_the_bucket) {
  ASSERT_EQ(machine_.write("new", "content"), 0);
  machine_.settle();
  EXPECT_TRUE(machine_.layer().release("", std::chrono::seconds(-1), nullptr));
  lose_power();
  EXPECT_EQ(content("new"), "content");
}

TEST_F(LayerPowerTest, a_cut_leaves_no_zeros) {
  for (const bool exported : {false, true}) {
    for (const int flags : {O_WRONLY | O_TRUNC, O_RDONLY | O_TRUNC}) {
      ASSERT_EQ(machine_.write("new", "0123456789"), 0);
      if (exported) machine_.settle();
      write_open("new", flags, 0, "");
      lose_power();
      EXPECT_THAT(content("new"), AnyOf(Eq("0123456789"), Eq(""))) << exported << flags;
    }
  }
}

TEST_F(LayerPowerTest, bytes_that_the_bucket_has_too_do_not_change_unnoticed) {
  ASSERT_EQ(machine_.write("new", "0123456789"), 0);
  machine_.settle();
  write_open("new", O_WRONLY, 2, "xx");
  lose_power();
  EXPECT_THAT(content("new"), AnyOf(Eq("0123456789"), Eq("01xx456789")));
}

TEST_F(LayerPowerTest, a_closed_file_is_there_though_nothing_was_written) {
  ASSERT_EQ(machine_.write("_SUCCESS", ""), 0);
  lose_power();
  EXPECT_EQ(content("_SUCCESS"), "");
}

TEST_F(LayerPowerTest, an_fsync_of_a_directory_keeps_what_was_done_in_it) {
  ASSERT_EQ(machine_.make_directory("made"), 0);
  ASSERT_EQ(machine_.rename("first", "made/first"), 0);
  ASSERT_EQ(error_of(machine_.layer().sync_directories()), 0);
  lose_power();
  EXPECT_THAT(machine_.list("made"), testing::ElementsAre("first"));
}

// The disk may have the journal before the name of a file that has only been made.
TEST_F(LayerPowerTest, a_file_that_was_made_and_not_closed_is_what_it_was) {
  machine_.settle();
  remote_->put("theirs", "in the bucket");
  machine_.age();
  write_open("made", O_CREAT | O_WRONLY, 0, "");
  write_open("theirs", O_WRONLY, 0, "IN");
  ASSERT_EQ(error_of(machine_.layer().sync_directories()), 0);
  std::filesystem::remove_all(path(machine_.options.directory) / "files");
  std::filesystem::create_directory(path(machine_.options.directory) / "files");
  lose_power();
  EXPECT_EQ(content("made"), "");
  EXPECT_EQ(content("theirs"), "in the bucket");
}

TEST_F(LayerPowerTest, a_content_that_is_gone_is_read_from_the_bucket_where_that_has_it) {
  ASSERT_EQ(machine_.write("new", "content"), 0);
  machine_.settle();
  ASSERT_EQ(error_of(machine_.layer().sync_directories()), 0);
  std::filesystem::remove_all(path(machine_.options.directory) / "files");
  std::filesystem::create_directory(path(machine_.options.directory) / "files");
  lose_power();
  EXPECT_EQ(content("new"), "content");
  EXPECT_THAT(machine_.log(), Contains(testing::HasSubstr("new: its local content is gone")));
}

}  // namespace
}  // namespace atl::fs
