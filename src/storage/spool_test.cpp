#include "storage/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "storage/fake_store.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class SpoolTest : public ::testing::Test {
 protected:
  SpoolTest() {
    std::string name = (fs::temp_directory_path() / "atoll-spool-test-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~SpoolTest() override { fs::remove_all(folder_); }
  fs::path folder_;
};

size_t resident_bytes() {
  size_t total_pages = 0;
  size_t resident_pages = 0;
  std::ifstream("/proc/self/statm") >> total_pages >> resident_pages;
  return resident_pages * 4096;
}

TEST_F(SpoolTest, gives_back_what_was_added_in_pieces_of_any_size) {
  auto spool = Spool::create(folder_.string()).value();
  std::string expected;
  for (size_t i = 0; i < 2000; ++i) {
    const std::string piece(i * 7919 % 1500, static_cast<char>('a' + i % 26));
    ASSERT_TRUE(spool.add(piece));
    expected += piece;
  }
  const Blob blob = std::move(spool).finish().value();
  EXPECT_TRUE(blob.text() == expected);
  FakeStore store;
  const auto part = blob.bytes();
  ASSERT_TRUE(store.put("k", std::span(&part, 1)));
  EXPECT_TRUE(store.get("k").value().text() == expected);
}

TEST_F(SpoolTest, that_nothing_was_added_to_is_empty) {
  EXPECT_EQ(Spool::create(folder_.string()).value().finish().value().size(), 0);
}

TEST_F(SpoolTest, leaves_no_file_behind_not_even_while_it_lives) {
  auto spool = Spool::create(folder_.string()).value();
  ASSERT_TRUE(spool.add(std::string(1'000'000, 'x')));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(SpoolTest, takes_no_memory_for_what_it_holds) {
  constexpr size_t kPieces = 1000;
  const std::string piece(64'000, 'x');
  auto spool = Spool::create(folder_.string()).value();
  ASSERT_TRUE(spool.add(piece));
  const size_t before = resident_bytes();
  for (size_t i = 1; i < kPieces; ++i) ASSERT_TRUE(spool.add(piece));
  const Blob blob = std::move(spool).finish().value();
  EXPECT_EQ(blob.size(), kPieces * piece.size());
  EXPECT_LT(resident_bytes(), before + 8'000'000);
}

TEST_F(SpoolTest, a_full_disk_is_an_error_that_names_the_directory) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{100'000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  auto spool = Spool::create(folder_.string()).value();
  const auto added = spool.add(std::string(1'000'000, 'x'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::kIo);
  EXPECT_THAT(added.error().to_string(), HasSubstr(folder_.string()));
  EXPECT_THAT(added.error().to_string(), HasSubstr("TMPDIR"));
}

TEST_F(SpoolTest, a_directory_that_is_not_there_is_named) {
  const auto spool = Spool::create((folder_ / "nowhere").string());
  ASSERT_FALSE(spool);
  EXPECT_THAT(spool.error().to_string(), HasSubstr((folder_ / "nowhere").string()));
}

}  // namespace
}  // namespace atl::storage
