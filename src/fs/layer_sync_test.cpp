// Bytes, the disk and the journal's notes of them, in that order. What is noted without the disk having it is no reason for
// a close, an fsync or an export not to wait for the disk.
#include <linux/fs.h>

#include <atomic>
#include <filesystem>
#include <functional>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

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
  // A file of so many bytes that has been renamed, and is open so that it gets its bytes, and is no copy, when the new one at
  // its old place is exported.
  Handle open_moved(size_t size_bytes) {
    remote_->put("object", std::string(size_bytes, 'o'));
    machine_.age();
    EXPECT_EQ(machine_.rename("object", "moved"), 0);
    EXPECT_EQ(machine_.write("object", "another one"), 0);
    return *machine_.open("moved", O_RDWR);
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
  const Handle open = open_moved(20'000);
  const std::string bytes = "here";
  ASSERT_TRUE(machine_.layer().write(open, 10'000, std::as_bytes(std::span(bytes))));
  sync_fails_ = true;
  EXPECT_FALSE(machine_.layer().export_now("object", {}, nullptr));
  EXPECT_EQ(machine_.set_attributes("moved", {.size_bytes = 20'001}), EIO);
  sync_fails_ = false;
  EXPECT_EQ(machine_.set_attributes("moved", {.size_bytes = 20'001}), 0);
  machine_.close(open);
  machine_.settle();
  EXPECT_EQ(remote_->content("moved")->substr(9'998, 8), "oohereoo");
}

TEST_F(LayerSyncTest, what_the_journal_could_not_be_told_of_takes_no_room) {
  const Handle open = open_moved(20'000);
  place_fails_ = true;
  EXPECT_FALSE(machine_.layer().export_now("object", {}, nullptr));
  EXPECT_EQ(error_of(machine_.layer().sync_directories()), 0);
  EXPECT_EQ(machine_.local_files(), 3);  // somebody has it open
  machine_.close(open);
  EXPECT_EQ(error_of(machine_.layer().sync_directories()), 0);
  EXPECT_EQ(machine_.local_files(), 2);
  place_fails_ = false;
  machine_.settle();
  EXPECT_EQ(remote_->content("moved"), std::string(20'000, 'o'));
}

TEST_F(LayerSyncTest, what_an_export_has_fetched_is_on_the_disk_before_it_is_noted) {
  const Handle open = open_moved(9'000'000);
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("read ") || remote_->counts().bytes_read < 5'000'000) return std::nullopt;
    return Error{ErrorCode::kIo, std::string(call), {}, {}};
  });
  EXPECT_FALSE(machine_.layer().export_now("object", {}, nullptr));
  remote_->set_fault(nullptr);
  const int before = syncs_;
  const std::string bytes = "here";
  ASSERT_TRUE(machine_.layer().write(open, 0, std::as_bytes(std::span(bytes))));
  EXPECT_EQ(syncs_, before + 1);
  machine_.close(open);
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
