#include "storage/shared_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "storage/fake_remote.h"

namespace atl::storage {
namespace {

using ::testing::ElementsAre;

enum class Where { kDirectory, kBucket };

class SharedRecordsTest : public ::testing::TestWithParam<Where> {
 protected:
  SharedRecordsTest() {
    std::string name = (std::filesystem::temp_directory_path() / "atoll-records-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    records_ = GetParam() == Where::kBucket
                   ? records_in(std::make_shared<FakeRemote>())
                   : std::move(*open_shared_records((folder_ / "not/there/yet").string(),
                                                    std::chrono::seconds(5)));
  }
  ~SharedRecordsTest() override { std::filesystem::remove_all(folder_); }

  std::optional<std::string> text(std::string_view key) {
    const auto found = records_->read(key);
    EXPECT_TRUE(found);
    return found ? *found : std::nullopt;
  }
  bool create(std::string_view key, std::string_view text) {
    const auto created = records_->create(key, text);
    EXPECT_TRUE(created);
    return created && *created;
  }

  std::filesystem::path folder_;
  std::unique_ptr<SharedRecords> records_;
};

INSTANTIATE_TEST_SUITE_P(Places,
                         SharedRecordsTest,
                         ::testing::Values(Where::kDirectory, Where::kBucket),
                         [](const auto& info) {
                           return info.param == Where::kBucket ? "bucket" : "directory";
                         });

TEST_P(SharedRecordsTest, what_is_created_once_is_not_created_again) {
  EXPECT_EQ(text("a"), std::nullopt);
  EXPECT_TRUE(create("a", "first"));
  EXPECT_FALSE(create("a", "second"));
  EXPECT_EQ(text("a"), "first");
  EXPECT_TRUE(records_->replace("a", "third"));
  EXPECT_EQ(text("a"), "third");
  EXPECT_FALSE(create("a", "fourth"));
}

TEST_P(SharedRecordsTest, of_many_that_create_at_once_one_does) {
  for (int round = 0; round < 20; ++round) {
    const std::string key = "round-" + std::to_string(round);
    std::atomic<int> created = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] { created += create(key, std::to_string(i)) ? 1 : 0; });
      }
    }
    EXPECT_EQ(created, 1);
  }
}

TEST_P(SharedRecordsTest, keys_come_in_order_and_nothing_else_is_left_behind) {
  for (const char* key : {"b-2", "b-10", "a", "b-1"}) EXPECT_TRUE(create(key, "x"));
  EXPECT_FALSE(create("a", "y"));
  EXPECT_THAT(*records_->keys("b-"), ElementsAre("b-1", "b-10", "b-2"));
  EXPECT_TRUE(records_->remove("b-1"));
  EXPECT_TRUE(records_->remove("b-1"));
  EXPECT_THAT(*records_->keys(""), ElementsAre("a", "b-10", "b-2"));
}

TEST_P(SharedRecordsTest, a_key_that_leaves_the_place_is_refused) {
  for (const char* key : {"../a", "/a", ""}) {
    EXPECT_EQ(records_->create(key, "x").error().code, ErrorCode::kInvalidInput);
    EXPECT_EQ(records_->replace(key, "x").error().code, ErrorCode::kInvalidInput);
    EXPECT_EQ(records_->read(key).error().code, ErrorCode::kInvalidInput);
  }
}

TEST(SharedRecordsIn, a_server_that_does_not_answer_is_an_error) {
  const auto remote = std::make_shared<FakeRemote>();
  const auto records = records_in(remote);
  remote->set_fault([](std::string_view) { return Error{ErrorCode::kIo, "no answer", {}, {}}; });
  EXPECT_EQ(records->create("a", "x").error().code, ErrorCode::kIo);
  EXPECT_EQ(records->read("a").error().code, ErrorCode::kIo);
  EXPECT_EQ(records->keys("").error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace atl::storage
