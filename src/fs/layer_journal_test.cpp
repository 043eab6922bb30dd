// Exports of which the journal cannot note what it should: the bucket and the journal find together again.
#include <gmock/gmock.h>
#include <linux/fs.h>

#include <thread>

#include "fs/failing_files.h"
#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using testing::ElementsAre;

class LayerJournalTest : public LayerTest {};

TEST_F(LayerJournalTest, an_object_that_the_journal_could_not_note_goes_with_its_file) {
  FailingFiles& disk = FailingFiles::get();
  disk.never();
  machine_.options.exports = ExportPolicy::kOnClose;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call == "upload new") disk.fail_at(0, true, SQLITE_FULL);
    return std::nullopt;
  });
  machine_.start();
  ASSERT_EQ(machine_.write("new", "content"), 0);
  while (machine_.layer().counts().failed_exports == 0) std::this_thread::yield();
  remote_->set_fault(nullptr);
  disk.never();
  ASSERT_EQ(remote_->content("new"), "content");
  ASSERT_EQ(machine_.unlink("new"), 0);
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "d"));
  machine_.settle();
  EXPECT_EQ(remote_->content("new"), std::nullopt);
}

TEST_F(LayerJournalTest,
       files_that_have_changed_places_are_exported_whichever_call_of_the_journal_failed) {
  FailingFiles& disk = FailingFiles::get();
  disk.never();
  machine_.start();
  std::string a = "alpha";
  std::string b = "beta";
  int calls = 0;
  for (bool reached = true; reached; ++calls) {
    ASSERT_EQ(machine_.rename("a", "d/b", RENAME_EXCHANGE), 0);
    std::swap(a, b);
    const auto open = machine_.open("a", O_RDWR);
    ASSERT_TRUE(open);
    disk.fail_at(calls, false, SQLITE_IOERR_WRITE);
    const auto exported = machine_.layer().export_now("", {}, nullptr);
    reached = disk.failed();
    disk.never();
    EXPECT_TRUE(exported || reached);
    machine_.settle();
    machine_.close(*open);
    ASSERT_EQ(remote_->content("a"), a) << calls;
    ASSERT_EQ(remote_->content("d/b"), b) << calls;
    ASSERT_EQ(machine_.read("a"), a) << calls;
    ASSERT_EQ(machine_.read("d/b"), b) << calls;
  }
  EXPECT_GT(calls, 20);
}

// The copy of a renamed file is there, and the journal could not note it; the file is written to meanwhile and stays open.
TEST_F(LayerJournalTest, a_file_in_the_old_place_of_one_whose_copy_was_not_noted_is_exported) {
  FailingFiles& disk = FailingFiles::get();
  disk.never();
  machine_.start();
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  std::optional<Handle> open;
  remote_->set_lost_answer([&](std::string_view call) -> std::optional<Error> {
    if (call != "copy a" || open) return std::nullopt;
    open = *machine_.open("z", O_RDWR);
    const std::string bytes = "ALPHA";
    EXPECT_TRUE(machine_.layer().write(*open, 0, std::as_bytes(std::span(bytes))));
    EXPECT_EQ(error_of(machine_.layer().flush(*open)), 0);
    disk.fail_at(0, true, SQLITE_FULL);
    return std::nullopt;
  });
  EXPECT_FALSE(machine_.layer().export_now("z", {}, nullptr));
  disk.never();
  ASSERT_TRUE(open);
  ASSERT_EQ(machine_.write("a", "another"), 0);
  const auto exported = machine_.layer().export_now("a", {}, nullptr);
  EXPECT_TRUE(exported) << exported.error().to_string();
  machine_.close(*open);
  machine_.settle();
  EXPECT_EQ(remote_->content("a"), "another");
  EXPECT_EQ(remote_->content("z"), "ALPHA");
}

}  // namespace
}  // namespace atl::fs
