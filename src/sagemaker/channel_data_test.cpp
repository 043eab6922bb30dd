#include "sagemaker/channel_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "sagemaker/temporary_folder.h"
#include "storage/fake_remote.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;
using testing::HasSubstr;

class ChannelDataTest : public testing::Test {
 protected:
  Result<StagedData> download(const Shard& shard = {}, const std::stop_token& stop = {}) {
    return download_objects(remote_, folder_.path() / "train", shard, nullptr, stop);
  }

  storage::FakeRemote remote_;
  const TemporaryFolder folder_;
};

TEST_F(ChannelDataTest, has_every_object_as_a_file) {
  const std::string large(40 << 20, 'x');  // of several ranges
  remote_.put("large", large);
  remote_.put("a/b/c.jpg", "picture");
  remote_.put("a/", "");  // a folder's mark
  remote_.put("empty", "");
  remote_.set_page_keys(2);
  const auto data = download();
  ASSERT_TRUE(data.has_value()) << data.error().to_string();
  EXPECT_EQ(data->files, 3U);
  EXPECT_EQ(data->files_in_all, 3U);
  EXPECT_EQ(data->bytes, large.size() + 7);
  EXPECT_EQ(data->bytes_in_all, large.size() + 7);
  EXPECT_EQ(folder_.read("train/large"), large);
  EXPECT_EQ(folder_.read("train/a/b/c.jpg"), "picture");
  EXPECT_TRUE(stdfs::exists(folder_.path() / "train/empty"));
}

TEST_F(ChannelDataTest, is_shared_out_among_the_hosts_without_rest) {
  for (int i = 0; i < 10; ++i) remote_.put("k" + std::to_string(i), "x");
  uint64_t files = 0;
  for (size_t host = 0; host < 3; ++host) {
    files += download_objects(remote_, folder_.path() / "s", {host, 3}, nullptr, {}).value().files;
  }
  EXPECT_EQ(files, 10U);
  EXPECT_EQ(std::distance(stdfs::directory_iterator(folder_.path() / "s"), {}), 10);
}

TEST_F(ChannelDataTest, leaves_no_half_file_behind_an_error) {
  remote_.put("a", "one");
  remote_.put("b", "two");
  remote_.set_fault([](std::string_view call) -> std::optional<Error> {
    if (call != "read b") return std::nullopt;
    return Error{ErrorCode::kPermission, "403 AccessDenied", {}, {}};
  });
  const auto data = download();
  EXPECT_EQ(data.error().code, ErrorCode::kPermission);
  EXPECT_FALSE(stdfs::exists(folder_.path() / "train/b"));
}

TEST_F(ChannelDataTest, refuses_keys_that_would_leave_the_folder) {
  remote_.put("../x", "y");
  EXPECT_EQ(download().error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(stdfs::exists(folder_.path() / "x"));
}

TEST_F(ChannelDataTest, says_that_a_prefix_holds_nothing) {
  remote_.put("folder/", "");
  EXPECT_EQ(download().error().code, ErrorCode::kNotFound);
}

TEST_F(ChannelDataTest, may_be_one_object) {
  remote_.put("instances.json", "{}");
  const auto data = download_object(remote_, "instances.json", folder_.path() / "a", nullptr, {});
  ASSERT_TRUE(data.has_value()) << data.error().to_string();
  EXPECT_EQ(data->files, 1U);
  EXPECT_EQ(folder_.read("a/instances.json"), "{}");
  EXPECT_EQ(download_object(remote_, "none", folder_.path() / "a", nullptr, {}).error().code,
            ErrorCode::kNotFound);
}

TEST_F(ChannelDataTest, stops_when_it_is_told_to) {
  remote_.put("a", "one");
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(download({}, stop.get_token()).error().code, ErrorCode::kCancelled);
}

TEST_F(ChannelDataTest, of_a_folder_is_the_same_files_by_another_name) {
  folder_.write("from/a/x", "one");
  folder_.write("elsewhere/y", "two");
  stdfs::create_directory_symlink(folder_.path() / "elsewhere", folder_.path() / "from/link");
  stdfs::create_symlink("nowhere", folder_.path() / "from/dangling");
  std::vector<uint64_t> progress;
  const auto data = copy_folder(folder_.path() / "from",
                                folder_.path() / "to",
                                {},
                                [&](const StagedData& so_far) { progress.push_back(so_far.files); },
                                {});
  ASSERT_TRUE(data.has_value()) << data.error().to_string();
  EXPECT_EQ(data->files, 2U);
  EXPECT_EQ(data->bytes, 6U);
  EXPECT_THAT(progress, testing::ElementsAre(1, 2));
  EXPECT_EQ(folder_.read("to/link/y"), "two");
  EXPECT_EQ(stdfs::hard_link_count(folder_.path() / "to/a/x"), 2U);
  // Removing the copy takes nothing away.
  stdfs::remove_all(folder_.path() / "to");
  EXPECT_EQ(folder_.read("from/a/x"), "one");
}

TEST_F(ChannelDataTest, of_a_folder_that_is_not_there_is_an_error) {
  const auto data = copy_folder(folder_.path() / "none", folder_.path() / "to", {}, nullptr, {});
  EXPECT_THAT(data.error().to_string(), HasSubstr("is no folder"));
}

}  // namespace
}  // namespace atl::sagemaker
