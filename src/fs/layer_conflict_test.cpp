// Objects that were changed in the bucket and here: who wins, by policy, and that nobody is silent.
#include <gmock/gmock.h>

#include <map>
#include <vector>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class LayerConflictTest : public LayerTest {};

TEST_F(LayerConflictTest, keep_both_puts_the_local_content_beside) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write("a", "mine"), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("a"), "theirs");
  EXPECT_EQ(remote_->content("a"), "theirs");
  const auto names = machine_.list("");
  ASSERT_EQ(names.size(), 3U);
  EXPECT_THAT(names[1], StartsWith("a.conflict-"));
  EXPECT_EQ(machine_.read(names[1]), "mine");
  EXPECT_EQ(remote_->content(names[1]), "mine");
}

TEST_F(LayerConflictTest, local_wins_replaces_the_buckets_version) {
  start(ConflictPolicy::kLocalWins);
  ASSERT_EQ(machine_.write("a", "mine"), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("a"), "mine");
  EXPECT_EQ(remote_->content("a"), "mine");
}

TEST_F(LayerConflictTest, remote_wins_drops_the_local_version) {
  start(ConflictPolicy::kRemoteWins);
  ASSERT_EQ(machine_.write("a", "mine"), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("a"), "theirs");
  EXPECT_EQ(remote_->content("a"), "theirs");
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "d"));
}

TEST_F(LayerConflictTest, a_new_file_does_not_overwrite_an_object_that_came_meanwhile) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write("new", "mine"), 0);
  remote_->put("new", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("new"), "theirs");
  EXPECT_EQ(machine_.list("").size(), 4U);
}

TEST_F(LayerConflictTest, an_object_that_was_removed_comes_back_with_the_local_content) {
  for (const auto policy : {ConflictPolicy::kKeepBoth, ConflictPolicy::kLocalWins}) {
    remote_->put("a", "alpha");
    machine_.age();
    start(policy);
    ASSERT_EQ(machine_.write("a", "mine"), 0);
    remote_->erase("a");
    settle_with_conflicts(1);
    EXPECT_EQ(remote_->content("a"), "mine");
  }
}

TEST_F(LayerConflictTest, a_removal_spares_what_was_changed_meanwhile) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.unlink("a"), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("a"), "theirs");
}

TEST_F(LayerConflictTest, a_removal_goes_through_where_local_wins) {
  start(ConflictPolicy::kLocalWins);
  ASSERT_EQ(machine_.unlink("a"), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(remote_->content("a"), std::nullopt);
  EXPECT_THAT(machine_.list(""), ElementsAre("d"));
}

TEST_F(LayerConflictTest, changed_attributes_are_put_on_the_new_content) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("a"), "theirs");
  EXPECT_EQ(remote_->metadata("a").at("file-permissions"), "0100600");
}

TEST_F(LayerConflictTest, a_renamed_file_whose_object_changed_takes_the_new_content_along) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("z"), "theirs");
  EXPECT_EQ(remote_->content("a"), std::nullopt);
}

TEST_F(LayerConflictTest, a_renaming_is_taken_back_where_the_bucket_wins) {
  start(ConflictPolicy::kRemoteWins);
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("a"), "theirs");
  EXPECT_EQ(error_of(machine_.look("z")), ENOENT);
}

// The table of docs/file-system.md, whole.
enum class Here { kContent, kAttributes, kRenamed, kRemoved };
enum class There { kReplaced, kRemoved };
struct Outcome {
  Here here;
  There there;
  ConflictPolicy policy;
  std::map<std::string, std::string> contents;  // afterwards, on both sides
  bool has_permissions = false;                 // those that were given here
  bool was_written_here = false;                // before, so that all of its bytes are here
};

class ConflictTable : public LayerConflictTest, public testing::WithParamInterface<Outcome> {
 protected:
  int change_here(Here what) {
    switch (what) {
      case Here::kContent:
        return machine_.write("a", "mine");
      case Here::kAttributes:
        return machine_.set_attributes("a", {.permissions = 0600});
      case Here::kRenamed:
        return machine_.rename("a", "z");
      case Here::kRemoved:
        return machine_.unlink("a");
    }
    return EINVAL;
  }
};

INSTANTIATE_TEST_SUITE_P(
    All, ConflictTable, testing::ValuesIn([] {
      constexpr auto kRemote = ConflictPolicy::kRemoteWins;
      constexpr auto kLocal = ConflictPolicy::kLocalWins;
      constexpr auto kBoth = ConflictPolicy::kKeepBoth;
      return std::vector<Outcome>{
          {Here::kContent, There::kReplaced, kRemote, {{"a", "theirs"}}},
          {Here::kContent, There::kReplaced, kLocal, {{"a", "mine"}}},
          {Here::kContent, There::kReplaced, kBoth, {{"a", "theirs"}, {"a.conflict-", "mine"}}},
          {Here::kContent, There::kRemoved, kRemote, {}},
          {Here::kContent, There::kRemoved, kLocal, {{"a", "mine"}}},
          {Here::kContent, There::kRemoved, kBoth, {{"a", "mine"}}},
          {Here::kAttributes, There::kReplaced, kRemote, {{"a", "theirs"}}},
          {Here::kAttributes, There::kReplaced, kLocal, {{"a", "theirs"}}, true},
          {Here::kAttributes, There::kReplaced, kBoth, {{"a", "theirs"}}, true},
          {Here::kAttributes, There::kRemoved, kRemote, {}},
          {Here::kAttributes, There::kRemoved, kLocal, {}},
          {Here::kAttributes, There::kRemoved, kLocal, {{"a", "written"}}, true, true},
          {Here::kAttributes, There::kRemoved, kBoth, {}},
          {Here::kAttributes, There::kRemoved, kBoth, {{"a", "written"}}, true, true},
          {Here::kRenamed, There::kReplaced, kRemote, {{"a", "theirs"}}},
          {Here::kRenamed, There::kReplaced, kLocal, {{"z", "theirs"}}},
          {Here::kRenamed, There::kReplaced, kBoth, {{"z", "theirs"}}},
          {Here::kRenamed, There::kRemoved, kRemote, {}},
          {Here::kRenamed, There::kRemoved, kLocal, {}},
          {Here::kRenamed, There::kRemoved, kLocal, {{"z", "written"}}, false, true},
          {Here::kRenamed, There::kRemoved, kBoth, {}},
          {Here::kRenamed, There::kRemoved, kBoth, {{"z", "written"}}, false, true},
          {Here::kRemoved, There::kReplaced, kRemote, {{"a", "theirs"}}},
          {Here::kRemoved, There::kReplaced, kLocal, {}},
          {Here::kRemoved, There::kReplaced, kBoth, {{"a", "theirs"}}},
      };
    }()));

TEST_P(ConflictTable, ends_as_the_documentation_says) {
  const Outcome& expected = GetParam();
  start(expected.policy);
  if (expected.was_written_here) {
    ASSERT_EQ(machine_.write("a", "written"), 0);
    settle_with_conflicts(0);
  }
  ASSERT_EQ(change_here(expected.here), 0);
  if (expected.there == There::kReplaced) {
    remote_->put("a", "theirs");
  } else {
    remote_->erase("a");
  }
  settle_with_conflicts(1);
  machine_.age();
  std::map<std::string, std::string> here, there;
  for (const std::string& name : machine_.list("")) {
    if (name == "d") continue;
    const std::string shown = name.substr(0, name.find(".conflict-") + sizeof(".conflict-") - 1);
    const std::string& key = name.find(".conflict-") == std::string::npos ? name : shown;
    here[key] = machine_.read(name).value_or("unreadable");
    there[key] = remote_->content(name).value_or("not in the bucket");
  }
  EXPECT_EQ(here, expected.contents);
  EXPECT_EQ(there, expected.contents);
  for (const char* name : {"a", "z"}) {
    if (!expected.contents.contains(name)) {
      EXPECT_EQ(remote_->content(name), std::nullopt) << name;
    }
  }
  if (expected.contents.contains("a")) {
    EXPECT_EQ(machine_.look("a")->mode & 07777U, expected.has_permissions ? 0600U : 0755U);
  }
}

TEST_F(LayerConflictTest, bytes_that_were_only_in_the_replaced_object_are_missed_aloud) {
  remote_->put("big", std::string(50'000, 'x'));
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write_at("big", 10'000, "mine"), 0);
  remote_->put("big", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.read("big"), "theirs");
  EXPECT_THAT(machine_.log(), Contains(HasSubstr("zeros stand for them")));
  std::string aside;
  for (const std::string& name : machine_.list("")) {
    if (name.starts_with("big.conflict-")) aside = name;
  }
  const auto kept = machine_.read(aside);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->size(), 50'000U);
  EXPECT_EQ(kept->substr(10'000, 4), "mine");
}

TEST_F(LayerConflictTest, a_write_whose_answer_was_lost_is_no_conflict) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write("a", "mine"), 0);
  ASSERT_EQ(machine_.rename("d/b", "z"), 0);
  machine_.copy_state();
  machine_.settle();         // the bucket has it all …
  machine_.crash_to_copy();  // … and the journal does not know
  machine_.start();
  settle_with_conflicts(0);
  EXPECT_EQ(machine_.read("a"), "mine");
  EXPECT_EQ(machine_.read("z"), "beta");
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  EXPECT_EQ(machine_.list("").size(), 3U);
}

TEST_F(LayerConflictTest, nor_is_one_of_a_file_that_was_renamed_since) {
  machine_.options.posix_metadata = PosixMetadata::kAlways;
  start(ConflictPolicy::kRemoteWins);
  ASSERT_EQ(machine_.set_attributes("d/b", {.permissions = 0600}), 0);
  machine_.copy_state();
  machine_.settle();
  machine_.crash_to_copy();
  machine_.start();
  ASSERT_EQ(machine_.rename("d/b", "z"), 0);
  settle_with_conflicts(0);
  EXPECT_EQ(machine_.read("z"), "beta");
  EXPECT_EQ(remote_->content("z"), "beta");
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  EXPECT_THAT(machine_.tree()["z"], StartsWith("100600 "));
}

// Written in the middle and exported, and the journal does not know: it takes the rest for the replaced object's.
class UnansweredWriteTest : public LayerConflictTest {
 protected:
  void SetUp() override {
    remote_->put("big", text_);
    remote_->put("link", "there", {{"file-permissions", "0120777"}});
    start(ConflictPolicy::kKeepBoth);
    write("mine", 10'000);
    ASSERT_EQ(machine_.set_attributes("link", {.uid = 7}), 0);
    machine_.copy_state();
    machine_.settle();
    machine_.crash_to_copy();
    std::filesystem::remove_all(machine_.directory() / "cache");  // which has the replaced bytes
    machine_.start();
    ASSERT_EQ(remote_->content("big"), text_);
  }
  void write(const std::string& bytes, size_t offset) {
    ASSERT_EQ(machine_.write_at("big", offset, bytes), 0);
    text_.replace(offset, bytes.size(), bytes);
  }
  void expect_exported_as(std::string_view name) {
    settle_with_conflicts(0);
    EXPECT_EQ(remote_->content(name), text_);
    EXPECT_EQ(machine_.read(name), text_);
    EXPECT_THAT(machine_.log(), Not(Contains(HasSubstr("zeros"))));
  }
  std::string text_ = std::string(50'000, 'x');
};

TEST_F(UnansweredWriteTest, is_read_where_a_file_was_not_written_to) {
  EXPECT_EQ(machine_.read("big"), text_);
  expect_exported_as("big");
}

TEST_F(UnansweredWriteTest, loses_no_byte_of_a_file_that_is_written_to_again) {
  write("more", 20'000);
  expect_exported_as("big");
}

TEST_F(UnansweredWriteTest, loses_no_byte_of_a_file_that_is_cut_and_grows) {
  AttributeChanges cut;
  cut.size_bytes = 15'000;
  ASSERT_EQ(machine_.set_attributes("big", cut), 0);
  text_.resize(15'000);
  text_.resize(20'000);
  write("more", 20'000);
  expect_exported_as("big");
}

TEST_F(UnansweredWriteTest, loses_no_byte_of_a_file_that_is_renamed) {
  ASSERT_EQ(machine_.rename("big", "z"), 0);
  EXPECT_EQ(machine_.read("z"), text_);
  expect_exported_as("z");
  EXPECT_EQ(remote_->content("big"), std::nullopt);
}

TEST_F(UnansweredWriteTest, loses_no_byte_of_a_file_whose_place_another_one_takes) {
  ASSERT_EQ(machine_.rename("big", "z"), 0);
  ASSERT_EQ(machine_.write("big", "another one"), 0);
  const auto open =
      machine_.open("z", O_RDWR);  // so that it gets its bytes, and is not exported before
  ASSERT_TRUE(open);
  EXPECT_TRUE(machine_.layer().export_now("big", {}, nullptr));
  EXPECT_EQ(remote_->content("big"), "another one");
  EXPECT_EQ(machine_.read(*open, 0, 100'000), text_);
  machine_.close(*open);
  expect_exported_as("z");
}

TEST_F(UnansweredWriteTest, loses_no_target_of_a_symlink) {
  const auto link = machine_.look("link");
  ASSERT_TRUE(link);
  EXPECT_EQ(machine_.layer().read_symlink(link->inode), "there");
  ASSERT_EQ(machine_.rename("link", "z"), 0);
  settle_with_conflicts(0);
  EXPECT_EQ(remote_->content("z"), "there");
  EXPECT_EQ(machine_.layer().read_symlink(machine_.look("z")->inode), "there");
}

TEST_F(UnansweredWriteTest, loses_no_target_of_a_symlink_whose_place_a_file_takes) {
  ASSERT_EQ(machine_.rename("link", "z"), 0);
  ASSERT_EQ(machine_.write("link", "another one"), 0);
  settle_with_conflicts(0);
  EXPECT_EQ(remote_->content("z"), "there");
  EXPECT_EQ(remote_->content("link"), "another one");
}

TEST_F(UnansweredWriteTest, loses_no_byte_of_an_open_file_that_is_unlinked) {
  const auto open = machine_.open("big", O_RDONLY);
  ASSERT_TRUE(open);
  ASSERT_EQ(machine_.unlink("big"), 0);
  settle_with_conflicts(0);
  EXPECT_EQ(remote_->content("big"), std::nullopt);
  EXPECT_EQ(machine_.read(*open, 0, 100'000), text_);
  machine_.close(*open);
}

TEST_F(UnansweredWriteTest, is_somebody_elses_bytes_where_that_one_has_written_since) {
  remote_->put("big", std::string(50'000, 'y'));
  EXPECT_EQ(error_of(machine_.read("big")), ESTALE);
}

TEST_F(LayerConflictTest, a_clean_file_gives_way_to_a_newer_object) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write("a", "mine"), 0);
  settle_with_conflicts(0);
  EXPECT_EQ(machine_.read("a"), "mine");
  remote_->put("a", "later");
  machine_.age();
  EXPECT_EQ(machine_.read("a"), "later");
  remote_->erase("a");
  machine_.age();
  EXPECT_EQ(error_of(machine_.look("a")), ENOENT);
}

}  // namespace
}  // namespace atl::fs
