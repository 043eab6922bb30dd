#include "fs/journal.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "fs/failing_files.h"

namespace atl::fs {
namespace {

using testing::ElementsAre;

class JournalTest : public testing::Test {
 protected:
  JournalTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "atoll-journal-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    FailingFiles::get().never();
  }
  ~JournalTest() override {
    FailingFiles::get().never();
    std::filesystem::remove_all(directory_);
  }
  FsResult<std::unique_ptr<Journal>> open(const std::string& identity = "bucket") {
    return Journal::open(directory_ / "journal.db", identity);
  }
  static Row row(InodeNumber inode, const std::string& name) {
    Row row;
    row.inode = inode;
    row.parent = kRoot;
    row.name = name;
    row.mode = 0100644;
    row.uid = 4'000'000'000;
    row.modified_ns = -5;
    row.size_bytes = 10;
    row.has_content = true;
    row.present.add({2, 5});
    row.base = {"key", "etag", 9, 8};
    row.known_etag = std::string("e\0t", 3);
    row.content_dirty = true;
    row.change = inode;
    return row;
  }
  // Everything in it, as text.
  static std::string all(Journal& journal) {
    std::string text;
    const auto rows = journal.children(kRoot, "", 1000);
    EXPECT_TRUE(rows);
    for (const Row& row : *rows) text += fmt::format("{}={} ", row.name, row.size_bytes);
    const auto removals = journal.removals("", 1000);
    EXPECT_TRUE(removals);
    for (const auto& removal : *removals) text += fmt::format("-{} ", removal.key);
    return text;
  }
  std::filesystem::path directory_;
};

TEST_F(JournalTest, a_row_comes_back_as_it_was) {
  const Row written = row((uint64_t{1} << 62) + 5, std::string("na\nme\xff"));
  {
    auto journal = open().value();
    auto transaction = Transaction::begin(journal->database(), true).value();
    ASSERT_TRUE(journal->insert(written));
    ASSERT_TRUE(transaction.commit());
  }
  auto journal = open().value();
  EXPECT_EQ(journal->row(written.inode).value(), written);
  EXPECT_EQ(journal->child(kRoot, written.name).value(), written);
  EXPECT_THAT(journal->dirty_rows().value(), ElementsAre(written.inode));
  EXPECT_THAT(journal->rows_based_on("key").value(), ElementsAre(written.inode));
  EXPECT_TRUE(journal->has_children(kRoot, false).value());
}

TEST_F(JournalTest, what_is_not_committed_has_not_happened) {
  auto journal = open().value();
  {
    auto transaction = Transaction::begin(journal->database(), false).value();
    ASSERT_TRUE(journal->insert(row(5, "a")));
    ASSERT_TRUE(journal->add_removal("k", "e"));
  }
  EXPECT_EQ(all(*journal), "");
}

TEST_F(JournalTest, removals_are_found_by_path) {
  auto journal = open().value();
  ASSERT_TRUE(journal->add_removal("a/b/c", "1"));
  ASSERT_TRUE(journal->add_removal("ab", "2"));
  EXPECT_TRUE(journal->has_removals("a").value());
  EXPECT_TRUE(journal->has_removals("a/b").value());
  EXPECT_TRUE(journal->has_removals("a/b/c").value());
  EXPECT_FALSE(journal->has_removals("a/b/d").value());
  EXPECT_TRUE(journal->has_removals("ab").value());
  EXPECT_FALSE(journal->has_removals("abc").value());
}

TEST_F(JournalTest, numbers_are_never_given_twice) {
  const uint64_t first = open().value()->next_number().value();
  EXPECT_GT(open().value()->next_number().value(), first);
}

TEST_F(JournalTest, another_buckets_journal_is_refused) {
  ASSERT_TRUE(open("bucket"));
  const auto other = open("another");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().error_number, EINVAL);
}

TEST_F(JournalTest, a_full_disk_is_ENOSPC) {
  auto journal = open().value();
  FailingFiles::get().fail_at(0, true, SQLITE_FULL);
  auto transaction = Transaction::begin(journal->database(), true);
  FsResult<void> done;
  if (!transaction) done = tl::unexpected(transaction.error());
  if (done) done = journal->insert(row(5, "a"));
  if (done) done = transaction->commit();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().error_number, ENOSPC);
}

// Ten operations with the disk failing at the n-th call, for every n, once or for good. An operation that
// said yes is there after a restart; one that said no is there wholly or not at all.
TEST_F(JournalTest, no_failing_call_loses_an_operation_that_succeeded) {
  for (const bool for_good : {false, true}) {
    int n = 0;
    for (bool reached = true; reached; ++n) {
      std::filesystem::remove_all(directory_);
      std::filesystem::create_directory(directory_);
      FailingFiles::get().never();
      auto journal = open().value();
      std::vector<std::string> possible{all(*journal)};
      FailingFiles::get().fail_at(n, for_good, SQLITE_IOERR_WRITE);
      std::string state;
      for (int i = 0; i < 10; ++i) {
        const auto operation = [&]() -> FsResult<void> {
          auto transaction = ATOLL_TRY(Transaction::begin(journal->database(), i % 2 == 0));
          if (i % 5 == 4) ATOLL_TRY(journal->erase(9U + static_cast<uint64_t>(i)));
          ATOLL_TRY(journal->insert(row(10U + static_cast<uint64_t>(i), fmt::format("f{}", i))));
          ATOLL_TRY(journal->add_removal(fmt::format("k{}", i), "e"));
          return transaction.commit();
        };
        std::string after = state;
        if (i % 5 == 4) {
          const std::string gone = fmt::format("f{}=10 ", i - 1);
          if (const size_t at = after.find(gone); at != std::string::npos)
            after.erase(at, gone.size());
        }
        const size_t rows = after.find('-') == std::string::npos ? after.size() : after.find('-');
        after.insert(rows, fmt::format("f{}=10 ", i));
        after += fmt::format("-k{} ", i);
        if (operation()) {
          state = after;
          possible = {state};
        } else {
          possible.push_back(after);
          break;  // as the layer does: what failed is told, and here the process ends
        }
      }
      reached = FailingFiles::get().failed();
      journal.reset();
      FailingFiles::get().never();
      auto again = open();
      ASSERT_TRUE(again) << n << ' ' << again.error().reason;
      EXPECT_THAT(possible, testing::Contains(all(**again))) << "call " << n;
    }
    EXPECT_GT(n, 10);
  }
}

}  // namespace
}  // namespace atl::fs
