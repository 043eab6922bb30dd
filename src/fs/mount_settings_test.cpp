#include "fs/mount_settings.h"

#include <gmock/gmock.h>

namespace atl::fs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<MountSettings> settings_of(std::string_view list) {
  MountSettings settings;
  for (const std::string& option : split_mount_options(list)) {
    ATOLL_TRY(apply_mount_option(settings, option));
  }
  return settings;
}

TEST(MountSettings, a_line_of_fstab_is_understood) {
  const auto settings = settings_of(
      "ro,allow_other,uid=1000,gid=100,umask=027,_netdev,nofail,x-systemd.automount,noatime,"
      "nosuid");
  ASSERT_TRUE(settings.has_value()) << settings.error().to_string();
  EXPECT_TRUE(settings->read_only && settings->allow_other);
  EXPECT_EQ(settings->uid, 1000U);
  EXPECT_EQ(settings->gid, 100U);
  EXPECT_EQ(settings->umask, 027U);
  EXPECT_THAT(settings->kernel_options, ElementsAre("noatime", "nosuid"));
}

TEST(MountSettings, policies_are_named) {
  const auto settings =
      settings_of("export=demand,conflict=s3-wins,fsync=s3,import=new+deleted,metadata=always");
  ASSERT_TRUE(settings.has_value()) << settings.error().to_string();
  EXPECT_EQ(settings->exports, ExportPolicy::kOnDemand);
  EXPECT_EQ(settings->conflicts, ConflictPolicy::kRemoteWins);
  EXPECT_EQ(settings->metadata, PosixMetadata::kAlways);
  EXPECT_TRUE(settings->fsync_to_bucket);
  EXPECT_TRUE(settings->imports.new_objects && settings->imports.deleted_objects);
  EXPECT_FALSE(settings->imports.changed_objects);
  EXPECT_FALSE(settings_of("import=none")->imports.new_objects);
}

TEST(MountSettings, sizes_times_and_places_are_taken) {
  const auto settings = settings_of(
      "cache_dir=/c,no_sign_request,cache_size=5G,state=/"
      "s,import_interval=0,max_age=5,endpoint_url=http://h:1,log=/l,events=https://sqs.x/1/q");
  ASSERT_TRUE(settings.has_value()) << settings.error().to_string();
  EXPECT_EQ(settings->cache_bytes, uint64_t{5} << 30);
  EXPECT_EQ(settings->state_directory, "/s");
  EXPECT_EQ(settings->events_queue, "https://sqs.x/1/q");
  EXPECT_EQ(settings->import_interval.count(), 0);
  EXPECT_EQ(settings->max_age.count(), 5);
  EXPECT_EQ(settings->endpoint_url, "http://h:1");
}

TEST(MountSettings, a_comma_can_be_part_of_a_value) {
  EXPECT_THAT(split_mount_options("state=/a\\,b,,ro"), ElementsAre("state=/a,b", "ro"));
  EXPECT_THAT(split_mount_options(""), ElementsAre());
}

TEST(MountSettings, what_is_wrong_is_named_with_what_would_be_right) {
  for (const auto& [list, words] : std::vector<std::pair<std::string, std::string>>{
           {"uid=root", "uid=root: it takes a whole number"},
           {"umask=99", "octal"},
           {"umask=1777", "octal"},
           {"export=never", "close or demand"},
           {"conflict=", "s3-wins or local-wins or keep-both"},
           {"import=old", "new+changed+deleted"},
           {"cache_size=much", "much"},
           {"nonsense", "unknown mount option nonsense"},
           {"nonsense=1", "unknown mount option nonsense"},
           {"uid", "a whole number"}}) {
    const auto settings = settings_of(list);
    ASSERT_FALSE(settings.has_value()) << list;
    EXPECT_EQ(settings.error().code, ErrorCode::kInvalidInput);
    EXPECT_THAT(settings.error().to_string(), HasSubstr(words));
  }
}

TEST(MountSettings, every_option_of_the_help_is_one) {
  for (const MountOption& option : mount_options()) {
    MountSettings settings;
    const std::string_view value = option.key == "uid" || option.key == "gid" ? "1"
                                   : option.type == "S"                       ? "1"
                                   : option.type == "OCTAL"                   ? "022"
                                   : option.type == "BYTES"                   ? "1G"
                                   : option.key == "metadata"                 ? "auto"
                                   : option.key == "export"                   ? "close"
                                   : option.key == "conflict"                 ? "keep-both"
                                   : option.key == "fsync"                    ? "s3"
                                   : option.key == "import"                   ? "none"
                                                                              : "x";
    const std::string text = option.type.empty()
                                 ? std::string(option.key)
                                 : std::string(option.key) + "=" + std::string(value);
    EXPECT_TRUE(apply_mount_option(settings, text).has_value()) << text;
  }
}

}  // namespace
}  // namespace atl::fs
