#include "fs/mount_point.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

namespace atl::fs {
namespace {

constexpr std::string_view kTable =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "36 22 0:47 / /mnt/my\\040data rw,nosuid shared:2 master:1 - fuse.atoll s3://b/x\\134y rw\n"
    "37 22 0:48 / /mnt/my\\040data ro - fuse.atoll s3://second ro\n"
    "nonsense\n"
    "38 22 0:49 / /mnt rw - tmpfs\n"
    "39 22 0:50 / /mnt/a rw - tmpfs none rw";

TEST(MountPoint, the_kernels_table_is_read_with_its_escapes) {
  const auto mounts = parse_mounts(kTable);
  ASSERT_EQ(mounts.size(), 4U);
  EXPECT_EQ(mounts[1].point, "/mnt/my data");
  EXPECT_EQ(mounts[1].type, kMountType);
  EXPECT_EQ(mounts[1].source, "s3://b/x\\y");
  EXPECT_EQ(mounts[1].device, "0:47");
}

TEST(MountPoint, of_two_mounts_on_each_other_the_upper_one_counts) {
  const auto mounts = parse_mounts(kTable);
  EXPECT_EQ(mounted_at(mounts, "/mnt/my data")->source, "s3://second");
  EXPECT_EQ(mount_of(mounts, "/mnt/my data/deep/file")->source, "s3://second");
}

TEST(MountPoint, a_path_belongs_to_the_nearest_mount_above_it) {
  const auto mounts = parse_mounts(kTable);
  EXPECT_EQ(mount_of(mounts, "/mnt/a/b")->point, "/mnt/a");
  EXPECT_EQ(mount_of(mounts, "/mnt/ab")->point, "/");
  EXPECT_FALSE(mounted_at(mounts, "/mnt/a/b"));
}

TEST(MountPoint, this_machines_own_table_has_a_root) {
  const auto here = mounts();
  ASSERT_TRUE(here.has_value());
  EXPECT_TRUE(mounted_at(*here, "/"));
}

TEST(MountPoint, paths_are_made_absolute_without_touching_their_last_component) {
  std::string name = (std::filesystem::temp_directory_path() / "atoll-mount-XXXXXX").string();
  const std::string folder = std::filesystem::canonical(::mkdtemp(name.data()));
  std::filesystem::create_directory(folder + "/real");
  std::filesystem::create_directory_symlink("real", folder + "/link");
  EXPECT_EQ(absolute_path(folder + "/real/"), folder + "/real");
  EXPECT_EQ(absolute_path(folder + "/link"), folder + "/real");
  EXPECT_EQ(absolute_path(folder + "/link/x"), folder + "/real/x");
  EXPECT_EQ(absolute_path(folder + "/real/../none"), folder + "/none");
  EXPECT_EQ(absolute_path(folder + "/real/.."), folder);
  EXPECT_EQ(absolute_path("/"), "/");
  EXPECT_EQ(absolute_path("."), std::filesystem::current_path().string());
  EXPECT_FALSE(absolute_path(folder + "/none/x").has_value());
  std::filesystem::remove_all(folder);
}

TEST(MountPoint, what_is_not_mounted_cannot_be_unmounted) {
  std::string name = (std::filesystem::temp_directory_path() / "atoll-mount-XXXXXX").string();
  const std::string folder = ::mkdtemp(name.data());
  EXPECT_FALSE(unmount(folder, false).has_value());
  EXPECT_EQ(clear_dead_mounts(folder), 0);
  EXPECT_FALSE(is_dead(folder));
  std::filesystem::remove(folder);
}

}  // namespace
}  // namespace atl::fs
