// A file that was made or moved here, at a place where the bucket has got another one meanwhile.
#include <gmock/gmock.h>
#include <linux/fs.h>

#include <chrono>
#include <map>
#include <string>
#include <thread>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using testing::Contains;
using testing::HasSubstr;
using Files = std::map<std::string, std::string>;

class LayerCollisionTest : public LayerTest, public testing::WithParamInterface<ConflictPolicy> {
 protected:
  void SetUp() override { start(GetParam()); }
  // Without d; what has been put aside under the name that it was to have. The bucket has the same.
  Files files() {
    machine_.age();
    Files files;
    for (const std::string& name : machine_.list("")) {
      if (name == "d") continue;
      const size_t aside = name.find(".conflict-");
      const std::string shown =
          aside == std::string::npos ? name : name.substr(0, aside) + " aside";
      files[shown] = machine_.read(name).value_or("unreadable");
      EXPECT_EQ(remote_->content(name), files[shown]) << name;
    }
    return files;
  }
  static Files by_policy(Files keep_both, Files local_wins, Files remote_wins) {
    return GetParam() == ConflictPolicy::kKeepBoth    ? keep_both
           : GetParam() == ConflictPolicy::kLocalWins ? local_wins
                                                      : remote_wins;
  }
};

INSTANTIATE_TEST_SUITE_P(Policies,
                         LayerCollisionTest,
                         testing::Values(ConflictPolicy::kKeepBoth,
                                         ConflictPolicy::kLocalWins,
                                         ConflictPolicy::kRemoteWins));

TEST_P(LayerCollisionTest, a_file_moved_to_a_free_place_that_is_none_any_more) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  remote_->put("z", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(files(),
            by_policy({{"z", "theirs"}, {"z aside", "alpha"}},
                      {{"z", "alpha"}},
                      {{"a", "alpha"}, {"z", "theirs"}}));
}

TEST_P(LayerCollisionTest, a_file_moved_onto_another_that_has_changed) {
  remote_->put("z", "old");
  machine_.age();
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  remote_->put("z", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(files(),
            by_policy({{"z", "theirs"}, {"z aside", "alpha"}},
                      {{"z", "alpha"}},
                      {{"a", "alpha"}, {"z", "theirs"}}));
}

TEST_P(LayerCollisionTest, a_file_written_here_and_moved) {
  ASSERT_EQ(machine_.write("mine", "mine"), 0);
  settle_with_conflicts(0);
  ASSERT_EQ(machine_.rename("mine", "z"), 0);
  remote_->put("z", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(files(),
            by_policy({{"a", "alpha"}, {"z", "theirs"}, {"z aside", "mine"}},
                      {{"a", "alpha"}, {"z", "mine"}},
                      {{"a", "alpha"}, {"mine", "mine"}, {"z", "theirs"}}));
}

TEST_P(LayerCollisionTest, a_file_in_a_directory_that_was_moved) {
  ASSERT_EQ(machine_.rename("d", "e"), 0);
  remote_->put("e/b", "theirs");
  settle_with_conflicts(1);
  const bool remote_wins = GetParam() == ConflictPolicy::kRemoteWins;
  EXPECT_EQ(remote_->content("d/b"),
            remote_wins ? std::optional<std::string>("beta") : std::nullopt);
  EXPECT_EQ(remote_->content("e/b"), GetParam() == ConflictPolicy::kLocalWins ? "beta" : "theirs");
  EXPECT_EQ(machine_.read("e/b"), remote_->content("e/b").value_or("none"));
  EXPECT_EQ(machine_.list("e").size(), GetParam() == ConflictPolicy::kKeepBoth ? 2U : 1U);
  if (remote_wins) {
    EXPECT_EQ(machine_.read("d/b"), "beta");
  }
}

TEST_P(LayerCollisionTest, a_symlink_where_they_have_a_file) {
  ASSERT_EQ(machine_.make_symlink("link", "a"), 0);
  remote_->put("link", "theirs");
  settle_with_conflicts(1);
  const bool local_wins = GetParam() == ConflictPolicy::kLocalWins;
  EXPECT_EQ(remote_->content("link"), local_wins ? "a" : "theirs");
  if (!local_wins) {
    EXPECT_EQ(machine_.read("link"), "theirs");
  }
  std::string aside;
  for (const std::string& name : machine_.list("")) {
    if (name.starts_with("link.conflict-")) aside = name;
  }
  ASSERT_EQ(!aside.empty(), GetParam() == ConflictPolicy::kKeepBoth);
  if (!aside.empty()) {
    EXPECT_EQ(machine_.layer().read_symlink(machine_.look(aside)->inode), "a");
  }
}

TEST_P(LayerCollisionTest, files_that_changed_places_of_which_one_has_changed) {
  remote_->put("z", "zeta");
  machine_.age();
  ASSERT_EQ(machine_.rename("a", "z", RENAME_EXCHANGE), 0);
  remote_->put("z", "theirs");
  machine_.settle();
  EXPECT_GT(machine_.layer().counts().conflicts, 0U);
  const Files all = files();
  // "alpha" and "theirs" are somewhere, whoever wins, but where ours is to replace theirs.
  EXPECT_THAT(all, Contains(testing::Pair(testing::_, "alpha")));
  if (GetParam() == ConflictPolicy::kRemoteWins) {
    EXPECT_EQ(all.at("a"), "alpha");
    EXPECT_EQ(all.at("z"), "theirs");
  }
}

TEST_P(LayerCollisionTest, a_moved_file_whose_old_place_has_been_taken) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  ASSERT_EQ(machine_.write("a", "new"), 0);
  remote_->put("z", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(files(),
            by_policy({{"a", "new"}, {"z", "theirs"}, {"z aside", "alpha"}},
                      {{"a", "new"}, {"z", "alpha"}},
                      {{"a", "new"}, {"z", "theirs"}, {"z aside", "alpha"}}));
}

// Metadata makes a link of it, or a file.
TEST_P(LayerCollisionTest, attributes_are_not_put_on_what_is_of_another_kind_by_now) {
  remote_->put("link", "a", {{"file-permissions", "0120777"}});
  machine_.options.posix_metadata = PosixMetadata::kAlways;
  start(GetParam());
  machine_.age();
  ASSERT_EQ(machine_.set_attributes("link", {.uid = 7}), 0);
  ASSERT_EQ(machine_.set_attributes("a", {.uid = 7}), 0);
  remote_->put("link", "a file");
  remote_->put("a", "target", {{"file-permissions", "0120777"}});
  machine_.settle();
  EXPECT_EQ(machine_.layer().counts().conflicts, 2U);
  machine_.age();
  EXPECT_EQ(machine_.read("link"), "a file");
  EXPECT_EQ(machine_.layer().read_symlink(machine_.look("a")->inode), "target");
  EXPECT_FALSE(remote_->metadata("link").contains("file-permissions"));
}

TEST_F(LayerTest, what_is_put_aside_fits_into_a_key) {
  std::string deep;
  for (const char name : {'p', 'q', 'r', 's'}) deep.append(200, name).append("/");
  for (const size_t length :
       {size_t{100}, size_t{150}, size_t{210}}) {  // of 1,024, with room, a little, and nearly none
    std::string key = deep;
    key.append(length, 'n');
    remote_->put(key, "old");
    machine_.options.exports = ExportPolicy::kOnClose;
    machine_.start();
    remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
      if (call != "upload " + key) return std::nullopt;
      remote_->set_fault(nullptr);
      remote_->put(key, "theirs");
      return std::nullopt;
    });
    ASSERT_EQ(machine_.write(key, "mine"), 0);
    const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (machine_.layer().counts().waiting_exports > 0) {
      ASSERT_LT(std::chrono::steady_clock::now(), until);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_EQ(machine_.layer().counts().conflicts, 1U);
    EXPECT_EQ(remote_->content(key), "theirs");
    EXPECT_EQ(machine_.read(key), "theirs");
    std::vector<std::string> asides;
    for (const auto& [path, what] : machine_.tree()) {
      if (path.find("n.conflict-") != std::string::npos ||
          path.find("nn.con") != std::string::npos) {
        asides.push_back(path);
        EXPECT_EQ(remote_->content(path), "mine");
        EXPECT_LE(path.size(), 1024U);
        ASSERT_EQ(machine_.unlink(path), 0);
      }
    }
    EXPECT_EQ(asides.size(), 1U) << length;
    ASSERT_EQ(machine_.unlink(key), 0);
    machine_.settle();
  }
}

}  // namespace
}  // namespace atl::fs
