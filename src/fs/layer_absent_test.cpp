// A server that answers 404 where it should not: as an endpoint does whose bucket is not there for a while, or one whose
// parts do not agree. Nothing is lost by that.
#include <gmock/gmock.h>

#include <algorithm>
#include <future>
#include <limits>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using testing::ElementsAre;

class LayerAbsentTest : public LayerTest {
 protected:
  // What begins with one of these is answered 404, `times` times.
  void not_found(const std::vector<std::string>& begins,
                 int times = std::numeric_limits<int>::max()) {
    left_ = times;
    remote_->set_fault([this, begins](std::string_view call) -> std::optional<Error> {
      const auto is_of = [&](const std::string& begin) { return call.starts_with(begin); };
      if (std::ranges::none_of(begins, is_of) || left_ <= 0) return std::nullopt;
      --left_;
      return Error{ErrorCode::kNotFound, std::string(call), {}, {}};
    });
  }
  bool export_all() { return machine_.layer().export_now("", {}, nullptr).has_value(); }

 private:
  std::atomic<int> left_ = 0;
};

TEST_F(LayerAbsentTest, a_server_that_finds_nothing_at_all_has_lost_nothing) {
  remote_->put("big", std::string(50'000, 'x'));
  remote_->put("r", "removed");
  remote_->put("s", "renamed");
  remote_->put("d/b", "beta", {{"label", "cat"}});
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write_at("d/b", 0, "B"), 0);
  ASSERT_EQ(machine_.write_at("big", 10'000, "mine"), 0);
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
  ASSERT_EQ(machine_.rename("s", "z"), 0);
  ASSERT_EQ(machine_.unlink("r"), 0);
  ASSERT_EQ(machine_.write("new", "new"), 0);
  not_found({""});
  EXPECT_FALSE(machine_.layer().export_now("", {}, nullptr));
  remote_->set_fault(nullptr);
  settle_with_conflicts(0);
  machine_.age();
  EXPECT_EQ(remote_->content("big")->substr(9'998, 8), "xxminexx");
  EXPECT_EQ(machine_.look("a")->mode & 07777U, 0600U);
  EXPECT_EQ(remote_->content("z"), "renamed");
  EXPECT_EQ(remote_->content("s"), std::nullopt);
  EXPECT_EQ(remote_->content("r"), std::nullopt);
  EXPECT_EQ(remote_->content("new"), "new");
  EXPECT_EQ(remote_->content("d/b"), "Beta");
  EXPECT_EQ(remote_->metadata("d/b")["label"], "cat");
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "big", "d", "new", "z"));
}

TEST_F(LayerAbsentTest, nor_does_it_show_as_an_empty_one) {
  remote_->put("d/e/f", "deep");
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write("kept", "mine"), 0);
  ASSERT_EQ(machine_.write("d/kept", "mine"), 0);
  ASSERT_EQ(machine_.set_attributes("d", {.permissions = 0711}), 0);
  machine_.settle();
  machine_.age();
  not_found({""});
  const auto ignore = [](const NamedAttributes&) { return true; };
  EXPECT_EQ(error_of(machine_.layer().list(machine_.look("")->inode, "", false, ignore)), EIO);
  EXPECT_EQ(error_of(machine_.look("a")), EIO);
  EXPECT_EQ(error_of(machine_.look("d/b")), EIO);
  EXPECT_EQ(machine_.remove_directory("d"), EIO);
  EXPECT_EQ(machine_.rename("d", "z"), EIO);
  EXPECT_EQ(machine_.read("kept"), "mine");
  EXPECT_EQ(machine_.read("d/kept"), "mine");
  remote_->set_fault(nullptr);
  const uint64_t gets = remote_->counts().gets;
  EXPECT_EQ(machine_.read("kept"), "mine");
  EXPECT_EQ(remote_->counts().gets, gets);
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "d", "kept"));
  EXPECT_THAT(machine_.list("d"), ElementsAre("b", "e", "kept"));
  EXPECT_EQ(machine_.read("d/e/f"), "deep");
}

TEST_F(LayerAbsentTest, no_zeros_stand_for_bytes_that_it_has_and_does_not_give) {
  const std::vector<std::vector<std::string>> cases = {{"read "}, {"read ", "stat "}};
  for (const auto& begins : cases) {
    remote_->put("big", std::string(50'000, 'x'));
    start(ConflictPolicy::kKeepBoth);
    machine_.age();
    ASSERT_EQ(machine_.write_at("big", 10'000, "mine"), 0);
    not_found(begins);
    EXPECT_FALSE(export_all());
    EXPECT_EQ(remote_->content("big"), std::string(50'000, 'x'));
    remote_->set_fault(nullptr);
    settle_with_conflicts(0);
    EXPECT_EQ(remote_->content("big")->size(), 50'000U);
    EXPECT_EQ(remote_->content("big")->substr(9'998, 8), "xxminexx");
    machine_.stop();
  }
}

TEST_F(LayerAbsentTest, who_reads_what_it_does_not_give_is_told_of_an_error) {
  remote_->put("link", "there", {{"file-permissions", "0120777"}});
  const std::vector<std::vector<std::string>> cases = {{"read "}, {""}};
  for (const auto& begins : cases) {
    start(ConflictPolicy::kKeepBoth);
    const auto open = machine_.open("d/b", O_RDONLY);
    ASSERT_TRUE(open);
    const InodeNumber link = machine_.look("link")->inode;
    not_found(begins);
    EXPECT_EQ(error_of(machine_.read(*open, 0, 100)), EIO);
    EXPECT_EQ(error_of(machine_.layer().read_symlink(link)), EIO);
    remote_->set_fault(nullptr);
    EXPECT_EQ(machine_.read(*open, 0, 100), "beta");
    EXPECT_EQ(machine_.layer().read_symlink(link), "there");
    machine_.close(*open);
    machine_.stop();
    std::filesystem::remove_all(machine_.directory() / "cache");
  }
}

TEST_F(LayerAbsentTest, nor_do_they_go_from_a_file_that_is_unlinked_and_open) {
  start(ConflictPolicy::kKeepBoth);
  const auto open = machine_.open("d/b", O_RDONLY);
  ASSERT_TRUE(open);
  ASSERT_EQ(machine_.unlink("d/b"), 0);
  not_found({"read "});
  EXPECT_FALSE(export_all());
  EXPECT_EQ(remote_->content("d/b"), "beta");
  remote_->set_fault(nullptr);
  settle_with_conflicts(0);
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  EXPECT_EQ(machine_.read(*open, 0, 100), "beta");
  machine_.close(*open);
}

TEST_F(LayerAbsentTest, what_it_lists_and_does_not_find_hides_nothing) {
  remote_->put("b", "beside it");
  remote_->put("d/", "", {{"file-permissions", "0040755"}});
  remote_->put("d/c", "gamma");
  not_found({"stat a", "read a", "stat d/b"});
  machine_.start();
  EXPECT_EQ(error_of(machine_.read("a")), EIO);
  EXPECT_EQ(machine_.read("b"), "beside it");
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "b", "d"));
  EXPECT_THAT(machine_.list("d"), ElementsAre("b", "c"));
  EXPECT_EQ(machine_.read("d/c"), "gamma");
  EXPECT_EQ(machine_.unlink("a"), 0);
  EXPECT_EQ(machine_.unlink("d/b"), 0);
  EXPECT_TRUE(export_all());
  EXPECT_EQ(remote_->content("a"), std::nullopt);
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
}

TEST_F(LayerAbsentTest, nor_does_it_decide_what_is_beside_it) {
  const auto not_found_itself = [&](const std::string& key) {
    remote_->set_fault([key](std::string_view call) -> std::optional<Error> {
      if (call != "stat " + key) return std::nullopt;
      return Error{ErrorCode::kNotFound, std::string(call), {}, {}};
    });
  };
  remote_->put("a", "alpha", {{"file-permissions", "0100600"}});
  remote_->put("d/", "", {{"file-permissions", "0040755"}});
  remote_->put("d/secret", "secret", {{"file-permissions", "0100600"}});
  remote_->put("d/link", "there", {{"file-permissions", "0120777"}});
  not_found_itself("d/");
  machine_.start();
  EXPECT_EQ(machine_.look("d/secret")->mode, S_IFREG | 0600U);
  EXPECT_EQ(machine_.look("d/link")->mode, S_IFLNK | 0777U);
  // The journal would have to know the directory.
  EXPECT_EQ(machine_.write_at("d/secret", 0, "S"), EIO);
  remote_->set_fault(nullptr);
  machine_.age();
  ASSERT_EQ(machine_.write_at("d/secret", 0, "S"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->metadata("d/secret")["file-permissions"], "0100600");
  // Nor what it is itself once it is found.
  machine_.stop();
  std::filesystem::remove_all(machine_.directory() / "names");
  not_found_itself("a");
  machine_.start();
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "d"));
  remote_->set_fault(nullptr);
  machine_.age();
  EXPECT_EQ(machine_.look("a")->mode, S_IFREG | 0600U);
}

TEST_F(LayerAbsentTest, what_it_lists_and_does_not_find_does_not_change) {
  remote_->put("link", "there", {{"file-permissions", "0120777"}});
  not_found({"stat link"});
  machine_.start();
  EXPECT_EQ(machine_.look("link")->mode, S_IFREG | 0700U);
  EXPECT_EQ(machine_.rename("link", "z"), EIO);
  EXPECT_EQ(machine_.write_at("link", 0, "T"), EIO);
  EXPECT_EQ(machine_.set_attributes("link", {.permissions = 0644}), EIO);
  remote_->set_fault(nullptr);
  machine_.age();
  ASSERT_EQ(machine_.rename("link", "z"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->metadata("z")["file-permissions"], "0120777");
}

TEST_F(LayerAbsentTest, what_it_lists_and_does_not_find_is_removed) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.unlink("d/b"), 0);
  not_found({"stat "});
  EXPECT_TRUE(export_all());
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  remote_->set_fault(nullptr);
  settle_with_conflicts(0);
}

TEST_F(LayerAbsentTest, a_directory_that_it_lists_and_does_not_find_is_its_owners_and_is_removed) {
  remote_->put("e/", "", {{"file-permissions", "0040755"}});
  not_found({"stat e/"});
  machine_.options.exports = ExportPolicy::kOnDemand;
  machine_.start();
  EXPECT_EQ(machine_.look("e")->mode, S_IFDIR | 0700U);
  EXPECT_EQ(machine_.write("e/new", "new"), EIO);
  EXPECT_EQ(machine_.remove_directory("e"), 0);
  EXPECT_TRUE(export_all());
  EXPECT_EQ(remote_->content("e/"), std::nullopt);
  remote_->set_fault(nullptr);
  machine_.age();
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "d"));
}

TEST_F(LayerAbsentTest, what_comes_to_its_place_replaces_it) {
  remote_->put("x", "renamed");
  machine_.options.exports = ExportPolicy::kOnDemand;
  not_found({"stat a", "stat d/b"});
  machine_.start();
  ASSERT_EQ(machine_.rename("x", "a"), 0);
  ASSERT_EQ(machine_.unlink("d/b"), 0);
  ASSERT_EQ(machine_.write("d/b", "new"), 0);
  EXPECT_TRUE(export_all());
  remote_->set_fault(nullptr);
  settle_with_conflicts(0);
  EXPECT_EQ(remote_->content("a"), "renamed");
  EXPECT_EQ(remote_->content("d/b"), "new");
}

TEST_F(LayerAbsentTest, so_is_what_it_lists_and_does_not_let_us_look_at) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.unlink("a"), 0);
  ASSERT_EQ(machine_.unlink("d/b"), 0);
  remote_->set_fault([](std::string_view call) -> std::optional<Error> {
    if (call != "stat a") return std::nullopt;
    return Error{ErrorCode::kPermission, std::string(call), {}, {}};
  });
  EXPECT_TRUE(export_all());
  EXPECT_EQ(remote_->content("a"), std::nullopt);
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
}

TEST_F(LayerAbsentTest, a_removal_whose_object_it_does_not_tell_of_holds_up_no_other) {
  start(ConflictPolicy::kKeepBoth);
  machine_.age();
  ASSERT_EQ(machine_.unlink("a"), 0);
  ASSERT_EQ(machine_.unlink("d/b"), 0);
  remote_->put("a", "somebody's");
  not_found({"stat a"});
  EXPECT_FALSE(export_all());
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  EXPECT_EQ(remote_->content("a"), "somebody's");
  remote_->set_fault(nullptr);
  settle_with_conflicts(1);
  EXPECT_EQ(remote_->content("a"), "somebody's");
}

TEST_F(LayerAbsentTest, a_copy_that_it_says_it_cannot_make_is_no_conflict) {
  for (const auto policy :
       {ConflictPolicy::kRemoteWins, ConflictPolicy::kKeepBoth, ConflictPolicy::kLocalWins}) {
    remote_->put("s", "renamed");
    remote_->put("d/b", "beta");
    start(policy);
    machine_.age();
    ASSERT_EQ(machine_.set_attributes("d/b", {.permissions = 0600}), 0);
    ASSERT_EQ(machine_.rename("s", "z"), 0);
    not_found({"copy "}, 2);
    (void)export_all();
    remote_->set_fault(nullptr);
    settle_with_conflicts(0);
    EXPECT_EQ(remote_->content("z"), "renamed");
    EXPECT_EQ(remote_->content("s"), std::nullopt);
    EXPECT_EQ(remote_->metadata("d/b")["file-permissions"], "0100600");
    machine_.stop();
    remote_->erase("z");
  }
}

TEST_F(LayerAbsentTest, an_export_that_needs_what_it_does_not_give_ends) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.rename("d/b", "z"), 0);
  ASSERT_EQ(machine_.write("d/b", "another one"), 0);
  const auto open = machine_.open("z", O_RDWR);  // so that it gets its bytes, and is no copy
  ASSERT_TRUE(open);
  not_found({"read "});
  EXPECT_FALSE(machine_.layer().export_now("d/b", {}, nullptr));
  EXPECT_EQ(remote_->content("d/b"), "beta");
  remote_->set_fault(nullptr);
  EXPECT_TRUE(machine_.layer().export_now("d/b", {}, nullptr));
  machine_.close(*open);
  settle_with_conflicts(0);
  EXPECT_EQ(remote_->content("d/b"), "another one");
  EXPECT_EQ(remote_->content("z"), "beta");
}

TEST_F(LayerAbsentTest, what_came_before_an_export_failed_takes_no_room) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.rename("d/b", "z"), 0);
  ASSERT_EQ(machine_.write("d/b", "another one"), 0);
  const auto open = machine_.open("z", O_RDWR);
  ASSERT_TRUE(open);
  not_found({"read "});
  EXPECT_FALSE(machine_.layer().export_now("d/b", {}, nullptr));
  machine_.close(*open);
  remote_->set_fault(nullptr);
  machine_.settle();
  EXPECT_EQ(error_of(machine_.layer().sync_directories()), 0);
  EXPECT_EQ(machine_.local_files(), 1);  // of "d/b", which is kept
}

// A file that was renamed, and gets its bytes because another one comes to its old place; they do not come. Meanwhile, the
// export of a third one still has all handles there were when it began.
class LayerGivenUpTest : public LayerAbsentTest {
 protected:
  LayerGivenUpTest() {
    start(ConflictPolicy::kKeepBoth);
    EXPECT_EQ(machine_.rename("d/b", "z"), 0);
    EXPECT_EQ(machine_.write("d/b", "another one"), 0);
    EXPECT_EQ(machine_.write("slow", "slow"), 0);
    const auto open = machine_.open("z", O_RDWR);
    EXPECT_TRUE(open);
    std::promise<void> slow_begins;
    remote_->set_fault(
        [&, go_on = go_on_.get_future().share()](std::string_view call) -> std::optional<Error> {
          if (call == "upload slow") {
            slow_begins.set_value();
            go_on.wait();
          }
          if (!call.starts_with("read ")) return std::nullopt;
          return Error{ErrorCode::kNotFound, std::string(call), {}, {}};
        });
    slow_ = std::async(std::launch::async, [this] {
      return machine_.layer().export_now("slow", {}, nullptr).has_value();
    });
    slow_begins.get_future().wait();
    remote_->hold_reads();
    auto failing = std::async(std::launch::async, [this] {
      return machine_.layer().export_now("d/b", {}, nullptr).has_value();
    });
    remote_->wait_for_reads(1);
    machine_.close(*open);
    machine_.layer().forget(machine_.look("z")->inode, std::numeric_limits<uint64_t>::max());
    remote_->release_reads();
    EXPECT_FALSE(failing.get());
  }
  void end_slow_one() {
    remote_->set_fault(nullptr);
    go_on_.set_value();
    EXPECT_TRUE(slow_.get());
  }

 private:
  std::promise<void> go_on_;
  std::future<bool> slow_;
};

TEST_F(LayerGivenUpTest, what_is_written_to_it_then_is_kept) {
  EXPECT_EQ(machine_.write_at("z", 0, "mine"), 0);
  EXPECT_EQ(error_of(machine_.layer().sync_directories()), 0);
  end_slow_one();
  EXPECT_EQ(machine_.read("z"), "mine");
  settle_with_conflicts(0);
  EXPECT_EQ(remote_->content("z"), "mine");
  EXPECT_EQ(remote_->content("d/b"), "another one");
}

TEST_F(LayerGivenUpTest, what_came_of_it_takes_no_room) {
  end_slow_one();
  EXPECT_EQ(machine_.local_files(), 2);  // of "d/b" and of "slow", which are kept
  settle_with_conflicts(0);
  EXPECT_EQ(remote_->content("z"), "beta");
  EXPECT_EQ(machine_.local_files(), 2);
}

}  // namespace
}  // namespace atl::fs
