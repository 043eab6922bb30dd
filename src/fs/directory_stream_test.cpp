#include "fs/directory_stream.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fs/fake_file_layer.h"

namespace atl::fs {
namespace {

class Directory : public ::testing::Test {
 protected:
  void fill(int files) {
    for (int i = 0; i < files; ++i) inodes_.push_back(layer_.put(fmt::format("f{:05}", i), ""));
  }
  // Up to `most` names from there on.
  std::vector<std::string> read(DirectoryStream& stream,
                                uint64_t position,
                                size_t most,
                                bool count) {
    std::vector<std::string> names;
    EXPECT_TRUE(stream
                    .read(position,
                          count,
                          [&](uint64_t at, const NamedAttributes& named) {
                            EXPECT_EQ(at, position + names.size());
                            if (names.size() == most) return false;
                            names.push_back(named.name);
                            return true;
                          })
                    .has_value());
    return names;
  }
  uint64_t all_lookups() const {
    uint64_t all = 0;
    for (const InodeNumber inode : inodes_) all += layer_.lookups(inode);
    return all;
  }

  FakeFileLayer layer_;
  std::vector<InodeNumber> inodes_;
};

TEST_F(Directory, lookups_are_counted_for_what_was_taken_and_nothing_else) {
  fill(2500);
  {
    DirectoryStream stream(layer_, kRoot);
    EXPECT_EQ(read(stream, 0, 10, true).size(), 10U);
    EXPECT_EQ(read(stream, 10, 1100, true).size(), 1100U);
    EXPECT_EQ(read(stream, 1110, 50, false).size(), 50U);
  }
  EXPECT_EQ(all_lookups(), 1110U);
}

TEST_F(Directory, what_is_taken_again_counts_again) {
  fill(20);
  {
    DirectoryStream stream(layer_, kRoot);
    read(stream, 0, 10, true);
    EXPECT_EQ(read(stream, 5, 10, true).front(), "f00005");
  }
  EXPECT_EQ(all_lookups(), 20U);
}

TEST_F(Directory, what_is_gone_when_it_is_taken_again_has_no_inode) {
  fill(3);
  DirectoryStream stream(layer_, kRoot);
  read(stream, 0, 3, true);
  ASSERT_TRUE(layer_.unlink(kRoot, "f00001").has_value());
  std::vector<InodeNumber> shown;
  ASSERT_TRUE(stream
                  .read(1,
                        true,
                        [&](uint64_t, const NamedAttributes& named) {
                          shown.push_back(named.attributes.inode);
                          return true;
                        })
                  .has_value());
  EXPECT_EQ(shown, (std::vector<InodeNumber>{0, inodes_[2]}));
}

TEST_F(Directory, reading_from_the_start_sees_what_is_new) {
  fill(2);
  DirectoryStream stream(layer_, kRoot);
  EXPECT_EQ(read(stream, 0, 10, false).size(), 2U);
  layer_.put("new", "");
  EXPECT_EQ(read(stream, 2, 10, false).size(), 0U);
  EXPECT_EQ(read(stream, 0, 10, false).size(), 3U);
}

TEST_F(Directory, removing_while_reading_leaves_nothing_out) {
  fill(3000);
  DirectoryStream stream(layer_, kRoot);
  size_t removed = 0;
  for (;;) {
    const auto names = read(stream, removed, 100, false);
    if (names.empty()) break;
    for (const std::string& name : names) ASSERT_TRUE(layer_.unlink(kRoot, name).has_value());
    removed += names.size();
  }
  EXPECT_EQ(removed, 3000U);
}

TEST_F(Directory, a_position_behind_the_end_is_the_end) {
  fill(1000);  // a page exactly
  DirectoryStream stream(layer_, kRoot);
  EXPECT_TRUE(read(stream, 1000, 10, false).empty());
  EXPECT_TRUE(read(stream, UINT64_MAX / 2, 10, false).empty());
  EXPECT_EQ(read(stream, 999, 10, false).size(), 1U);
}

TEST_F(Directory, an_error_of_the_layer_comes_out) {
  fill(1);
  DirectoryStream stream(layer_, kRoot);
  layer_.fail("list", EIO);
  const auto result = stream.read(0, false, [](auto, auto&) { return true; });
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().error_number, EIO);
}

}  // namespace
}  // namespace atl::fs
