#include "sagemaker/checkpoint_sync.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sagemaker/temporary_folder.h"
#include "storage/fake_store.h"

namespace atl::sagemaker {
namespace {

using testing::ElementsAre;

class CheckpointSyncTest : public testing::Test {
 protected:
  std::vector<std::string> keys() {
    std::vector<std::string> keys;
    EXPECT_TRUE(store_
                    .list("",
                          [&](const storage::ObjectInfo& object) {
                            keys.push_back(object.key);
                            return true;
                          })
                    .has_value());
    return keys;
  }
  std::string stored(std::string_view key) {
    const auto blob = store_.get(key);
    return blob ? std::string(blob->text()) : "none";
  }

  storage::FakeStore store_;
  const TemporaryFolder folder_;
  CheckpointSync sync_{store_, folder_.path()};
};

TEST_F(CheckpointSyncTest, restores_what_is_stored) {
  ASSERT_TRUE(storage::put_text(store_, "step-1/a", "one").has_value());
  ASSERT_TRUE(storage::put_text(store_, "b", "").has_value());
  EXPECT_EQ(sync_.restore().value(), 2U);
  EXPECT_EQ(folder_.read("step-1/a"), "one");
  // And has nothing to do then.
  EXPECT_EQ(sync_.synchronise(true).value(), 0U);
}

TEST_F(CheckpointSyncTest, stores_a_file_once_it_no_longer_changes) {
  ASSERT_TRUE(sync_.restore().has_value());
  folder_.write("a", "half");
  EXPECT_EQ(sync_.synchronise(false).value(), 0U);
  folder_.write("a", "half and more");
  EXPECT_EQ(sync_.synchronise(false).value(), 0U);
  EXPECT_EQ(sync_.synchronise(false).value(), 1U);
  EXPECT_EQ(stored("a"), "half and more");
  EXPECT_EQ(sync_.synchronise(false).value(), 0U);
  folder_.write("a", "another");
  EXPECT_EQ(sync_.synchronise(true).value(), 1U);
  EXPECT_EQ(stored("a"), "another");
}

TEST_F(CheckpointSyncTest, takes_away_what_the_program_has_taken_away_and_nothing_else) {
  ASSERT_TRUE(storage::put_text(store_, "mine", "1").has_value());
  ASSERT_TRUE(sync_.restore().has_value());
  ASSERT_TRUE(storage::put_text(store_, "of another host", "2").has_value());
  std::filesystem::remove(folder_.path() / "mine");
  EXPECT_EQ(sync_.synchronise(false).value(), 1U);
  EXPECT_THAT(keys(), ElementsAre("of another host"));
}

TEST_F(CheckpointSyncTest, passes_over_links_and_unfinished_files) {
  ASSERT_TRUE(sync_.restore().has_value());
  folder_.write(".atoll-tmp-x", "half");
  std::filesystem::create_symlink("/etc/passwd", folder_.path() / "link");
  folder_.write("a", "x");
  EXPECT_EQ(sync_.synchronise(true).value(), 1U);
  EXPECT_THAT(keys(), ElementsAre("a"));
}

TEST_F(CheckpointSyncTest, tries_again_what_could_not_be_stored) {
  ASSERT_TRUE(sync_.restore().has_value());
  folder_.write("a", "x");
  store_.fail_call(1, Error{ErrorCode::kIo, "503", {}, {}});
  EXPECT_FALSE(sync_.synchronise(true).has_value());
  EXPECT_EQ(sync_.synchronise(true).value(), 1U);
  EXPECT_EQ(stored("a"), "x");
}

}  // namespace
}  // namespace atl::sagemaker
