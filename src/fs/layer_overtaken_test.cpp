// What is done to a file while its export is under way, or before an earlier write of it is known.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <linux/fs.h>

#include <atomic>
#include <future>
#include <thread>

#include "fs/layer_fixture.h"
#include "fs/posix_metadata.h"

namespace atl::fs {
namespace {

class LayerOvertakenTest : public LayerTest {
 protected:
  LayerOvertakenTest() { machine_.start(); }
  // `act` comes before the first such call.
  void at_first(const std::string& call, const std::function<void()>& act) {
    remote_->set_fault([=, this](std::string_view now) -> std::optional<Error> {
      if (now == call && !acted_.exchange(true)) act();
      return std::nullopt;
    });
  }
  void settle() {
    machine_.settle();
    EXPECT_TRUE(acted_);
    EXPECT_EQ(machine_.layer().counts().conflicts, 0U);
  }
  std::atomic<bool> acted_ = false;
};

TEST_F(LayerOvertakenTest, a_conflict_at_its_old_place_is_none_of_a_file_whose_directory_moved) {
  ASSERT_EQ(machine_.make_directory("n"), 0);
  ASSERT_EQ(machine_.write("n/f", "mine"), 0);
  at_first("upload n/f", [&] {
    remote_->put("n/f", "theirs");
    EXPECT_EQ(machine_.rename("n", "m"), 0);
  });
  settle();
  EXPECT_EQ(remote_->content("m/f"), "mine");
  EXPECT_EQ(remote_->content("n/f"), "theirs");
}

TEST_F(LayerOvertakenTest, a_file_that_is_unlinked_while_it_is_copied_is_no_conflict) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  at_first("copy a", [&] {
    EXPECT_EQ(machine_.unlink("z"), 0);
    remote_->erase("a");
  });
  settle();
  EXPECT_EQ(remote_->content("z"), std::nullopt);
}

TEST_F(LayerOvertakenTest, a_file_that_is_unlinked_while_it_is_uploaded_goes_from_the_bucket) {
  ASSERT_EQ(machine_.write("n", "mine"), 0);
  at_first("upload n", [&] { EXPECT_EQ(machine_.unlink("n"), 0); });
  settle();
  EXPECT_EQ(remote_->content("n"), std::nullopt);
}

TEST_F(LayerOvertakenTest, an_export_of_all_waits_for_an_upload_of_a_file_that_is_unlinked) {
  machine_.stop();
  machine_.options.exports = ExportPolicy::kOnClose;
  machine_.start();
  std::promise<void> unlinked;
  at_first("upload n", [&] {
    EXPECT_EQ(machine_.unlink("n"), 0);
    unlinked.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
  ASSERT_EQ(machine_.write("n", "mine"), 0);
  unlinked.get_future().wait();
  settle();
  machine_.stop();
  EXPECT_EQ(remote_->content("n"), std::nullopt);
}

TEST_F(LayerOvertakenTest, an_upload_of_a_removed_directory_leaves_nothing_for_the_next_one) {
  ASSERT_EQ(machine_.make_directory("n"), 0);
  ASSERT_EQ(machine_.write("n/f", "mine"), 0);
  at_first("upload n/f", [&] {
    EXPECT_EQ(machine_.unlink("n/f"), 0);
    EXPECT_EQ(machine_.remove_directory("n"), 0);
  });
  settle();
  EXPECT_EQ(remote_->content("n/f"), std::nullopt);
  ASSERT_EQ(machine_.make_directory("n"), 0);
  ASSERT_EQ(machine_.write("n/f", "later"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("n/f"), "later");
}

// A write whose answer a crash has cut off, a removal of it, a new file in its place that goes, too.
TEST_F(LayerOvertakenTest, an_unknown_write_goes_although_its_removal_was_taken_back) {
  ASSERT_EQ(machine_.write("n", "first"), 0);
  machine_.copy_state();
  machine_.settle();
  machine_.crash_to_copy();
  machine_.start();
  ASSERT_EQ(remote_->content("n"), "first");
  ASSERT_EQ(machine_.unlink("n"), 0);
  ASSERT_EQ(machine_.write("n", "second"), 0);
  ASSERT_EQ(machine_.unlink("n"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("n"), std::nullopt);
}

TEST_F(LayerOvertakenTest, a_removal_waits_for_a_write_whose_answer_never_came) {
  using Clock = std::chrono::steady_clock;
  machine_.stop();
  machine_.options.late_write = std::chrono::milliseconds(150);
  machine_.start();
  ASSERT_EQ(machine_.write("n", "mine"), 0);
  std::optional<Clock::time_point> sent;
  std::optional<Clock::time_point> looked_for;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call == "stat n" && !looked_for) looked_for = Clock::now();
    if (call != "upload n") return std::nullopt;
    sent = Clock::now();
    return Error{ErrorCode::kIo, "the connection was reset", {}, {}};
  });
  EXPECT_FALSE(machine_.layer().export_now("", {}, nullptr));
  ASSERT_EQ(machine_.unlink("n"), 0);
  machine_.settle();
  ASSERT_TRUE(sent && looked_for);
  EXPECT_GE(*looked_for - *sent, machine_.options.late_write);
}

TEST_F(LayerOvertakenTest, a_read_goes_on_where_its_bytes_have_been_moved_to) {
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  at_first("read a", [&] { machine_.settle(); });
  EXPECT_EQ(machine_.read("z"), "alpha");
  EXPECT_TRUE(acted_);
  EXPECT_EQ(remote_->content("a"), std::nullopt);
}

TEST_F(LayerOvertakenTest, a_symlink_is_read_where_it_has_been_moved_to) {
  remote_->put("link", "there", {{"file-permissions", "0120777"}});
  machine_.stop();
  machine_.options.posix_metadata = PosixMetadata::kAlways;
  machine_.start();
  machine_.age();  // the one before may have listed the bucket without it
  ASSERT_EQ(machine_.rename("link", "z"), 0);
  const auto link = machine_.look("z");
  ASSERT_TRUE(link);
  at_first("read link", [&] { machine_.settle(); });
  EXPECT_EQ(machine_.layer().read_symlink(link->inode), "there");
  EXPECT_TRUE(acted_);
}

// Another export fetches the bytes of a renamed file that is open, to be free to replace the object they are in,
// while that object is being copied: then the copy finds another version there, and it is our own.
TEST_F(LayerOvertakenTest, a_renamed_file_that_got_its_bytes_while_it_was_copied_is_no_conflict) {
  for (const auto policy : {ConflictPolicy::kKeepBoth, ConflictPolicy::kRemoteWins}) {
    machine_.stop();
    machine_.options.conflicts = policy;
    machine_.start();
    ASSERT_EQ(machine_.rename("a", "z"), 0);
    ASSERT_EQ(machine_.write("a", "another"), 0);
    const auto open = machine_.open("z", O_RDWR);
    ASSERT_TRUE(open);
    acted_ = false;
    at_first("copy a", [&] { EXPECT_TRUE(machine_.layer().export_now("a", {}, nullptr)); });
    const auto exported = machine_.layer().export_now("z", {}, nullptr);
    EXPECT_TRUE(exported) << exported.error().to_string();
    machine_.close(*open);
    settle();
    EXPECT_EQ(remote_->content("z"), "alpha");
    EXPECT_EQ(remote_->content("a"), "another");
    // As it was, for the next policy.
    ASSERT_EQ(machine_.rename("z", "a"), 0);
    machine_.settle();
  }
}

// The remover is held at its first request while a new file takes the place: its object comes after the removal,
// however eager its export is.
TEST_F(LayerOvertakenTest, a_file_in_the_place_of_a_removal_under_way_keeps_its_object) {
  std::future<Result<Progress>> exported;
  ASSERT_EQ(machine_.unlink("a"), 0);
  std::vector<std::string> calls;
  std::mutex mutex;
  std::atomic<bool> acted = false;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    {
      const std::lock_guard lock(mutex);
      if (call == "remove a" || call == "upload a") calls.emplace_back(call);
    }
    if (call == "stat a" && !acted.exchange(true)) {
      EXPECT_EQ(machine_.write("a", "new"), 0);
      exported = std::async(std::launch::async,
                            [&] { return machine_.layer().export_now("a", {}, nullptr); });
    }
    return std::nullopt;
  });
  EXPECT_TRUE(machine_.layer().export_now("", {}, nullptr));
  ASSERT_TRUE(acted);
  EXPECT_TRUE(exported.get());
  machine_.settle();
  remote_->set_fault(nullptr);
  EXPECT_EQ(remote_->content("a"), "new");
  EXPECT_THAT(calls, testing::ElementsAre("remove a", "upload a"));
}

// Removals and new files in their places, by two that export at the same time.
TEST_F(LayerOvertakenTest, files_that_come_and_go_while_removals_are_looked_at_keep_their_objects) {
  for (int round = 0; round < 10; ++round) {
    std::vector<std::string> names;
    for (int i = 0; i < 10; ++i) names.push_back(fmt::format("n{:02}", i));
    for (const auto& name : names) ASSERT_EQ(machine_.write(name, "old"), 0);
    machine_.settle();
    for (const auto& name : names) ASSERT_EQ(machine_.unlink(name), 0);
    auto removing = std::async(std::launch::async,
                               [&] { return machine_.layer().export_now("", {}, nullptr); });
    for (const auto& name : names) {
      ASSERT_EQ(machine_.write(name, "new"), 0);
      ASSERT_TRUE(machine_.layer().export_now(name, {}, nullptr));
    }
    const auto removed = removing.get();
    EXPECT_TRUE(removed) << removed.error().to_string();
    machine_.settle();
    for (const auto& name : names) ASSERT_EQ(remote_->content(name), "new") << round << name;
  }
}

TEST_F(LayerOvertakenTest, an_export_of_a_directory_waits_for_what_was_moved_out_of_it) {
  ASSERT_EQ(machine_.rename("d/b", "z"), 0);
  const auto exported = machine_.layer().export_now("d", {}, nullptr);
  ASSERT_TRUE(exported) << exported.error().to_string();
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  EXPECT_EQ(remote_->content("z"), "beta");
}

// Attributes are a copy of the object onto itself, and where that gives another ETag (parts, SSE-KMS), one whose answer
// was lost makes the next one find another version, which is our own: the file stays the one that is open.
class LayerLostCopyTest : public LayerOvertakenTest {
 protected:
  void lose_a_copy_of_a() {
    remote_->set_lost_answer([this](std::string_view call) -> std::optional<Error> {
      if (call != "copy a" || lost_.exchange(true)) return std::nullopt;
      return Error{ErrorCode::kIo, "the connection was reset", {}, {}};
    });
    ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
    EXPECT_FALSE(machine_.layer().export_now("a", {}, nullptr));
    EXPECT_TRUE(lost_);
    ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0640}), 0);
  }
  void settle() {
    machine_.settle();
    EXPECT_EQ(machine_.layer().counts().conflicts, 0U);
  }
  void write(Handle handle, uint64_t offset, std::string_view bytes) {
    ASSERT_TRUE(machine_.layer().write(handle, offset, std::as_bytes(std::span(bytes))));
  }
  std::atomic<bool> lost_ = false;
};

TEST_F(LayerLostCopyTest, what_is_written_through_an_open_file_counts) {
  const auto reading = machine_.open("a", O_RDONLY);
  const auto writing = machine_.open("a", O_RDWR);
  ASSERT_TRUE(reading && writing);
  lose_a_copy_of_a();
  settle();
  write(*writing, 2, "LL");
  EXPECT_EQ(machine_.read(*reading, 0, 10), "alLLa");
  machine_.close(*writing);
  settle();
  EXPECT_EQ(machine_.read(*reading, 0, 10), "alLLa");
  machine_.close(*reading);
  EXPECT_EQ(remote_->content("a"), "alLLa");
  EXPECT_EQ(remote_->metadata("a").at("file-permissions"), "0100640");
  EXPECT_EQ(machine_.read("a"), "alLLa");
}

TEST_F(LayerLostCopyTest, what_is_written_while_it_is_looked_at_counts) {
  lose_a_copy_of_a();
  at_first("copy a", [&] { EXPECT_EQ(machine_.write_at("a", 2, "LL"), 0); });
  settle();
  EXPECT_TRUE(acted_);
  EXPECT_EQ(remote_->content("a"), "alLLa");
  EXPECT_EQ(machine_.read("a"), "alLLa");
}

TEST_F(LayerLostCopyTest, a_file_that_is_renamed_while_it_is_copied_stays_the_one_that_is_open) {
  const auto open = machine_.open("a", O_RDWR);
  ASSERT_TRUE(open);
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
  at_first("copy a", [&] { EXPECT_EQ(machine_.rename("a", "z"), 0); });
  settle();
  EXPECT_TRUE(acted_);
  EXPECT_EQ(machine_.read(*open, 0, 10), "alpha");
  write(*open, 2, "LL");
  machine_.close(*open);
  settle();
  EXPECT_EQ(remote_->content("z"), "alLLa");
  EXPECT_EQ(remote_->content("a"), std::nullopt);
}

TEST_F(LayerLostCopyTest, a_file_that_was_renamed_after_it_stays_the_one_that_is_open) {
  const auto open = machine_.open("a", O_RDWR);
  ASSERT_TRUE(open);
  lose_a_copy_of_a();
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  settle();
  write(*open, 2, "LL");
  machine_.close(*open);
  settle();
  EXPECT_EQ(remote_->content("z"), "alLLa");
  EXPECT_EQ(remote_->content("a"), std::nullopt);
}

TEST_F(LayerLostCopyTest, what_is_written_while_a_renaming_is_looked_at_counts) {
  lose_a_copy_of_a();
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  at_first("copy a", [&] { EXPECT_EQ(machine_.write_at("z", 2, "LL"), 0); });
  settle();
  EXPECT_TRUE(acted_);
  EXPECT_EQ(remote_->content("z"), "alLLa");
  EXPECT_EQ(machine_.read("z"), "alLLa");
  EXPECT_EQ(remote_->content("a"), std::nullopt);
}

// The other files' turn comes after all that is open has been noted.
TEST_F(LayerOvertakenTest, what_is_appended_before_its_export_begins_stays) {
  machine_.stop();
  machine_.options.export_workers = 1;
  machine_.start();
  ASSERT_EQ(machine_.write("b", "first"), 0);
  const auto open = machine_.open("c", O_RDWR | O_CREAT);
  ASSERT_TRUE(open);
  const auto append = [&](std::string_view bytes, uint64_t offset) {
    EXPECT_TRUE(machine_.layer().write(*open, offset, std::as_bytes(std::span(bytes))));
  };
  append("noted ", 0);
  at_first("upload b", [&] { append("and not", 6); });
  settle();
  machine_.close(*open);
  settle();
  EXPECT_EQ(remote_->content("c"), "noted and not");
  EXPECT_EQ(machine_.read("c"), "noted and not");
  machine_.crash();
  machine_.start();
  EXPECT_EQ(machine_.read("c"), "noted and not");
}

TEST_F(LayerOvertakenTest, attributes_of_a_file_that_is_copied_meanwhile_are_the_copys) {
  storage::Metadata metadata;
  write_xattrs({{"user.note", "hello"}}, metadata);
  remote_->put("d/s", "renamed", metadata);
  ASSERT_EQ(machine_.rename("d/s", "z"), 0);
  const InodeNumber inode = machine_.look("z")->inode;
  at_first("stat d/s", [&] {
    EXPECT_TRUE(machine_.layer().export_now("", {}, nullptr));
    EXPECT_EQ(remote_->content("d/s"), std::nullopt);
  });
  EXPECT_EQ(error_of(machine_.layer().set_xattr(inode, "user.more", "x", 0)), 0);
  EXPECT_EQ(machine_.layer().xattr(inode, "user.note"), "hello");
  settle();
  EXPECT_EQ(read_xattrs(remote_->metadata("z")).size(), 2U);
}

// Each waits for the next one's object to be free; one behind the other they would need a stack without end.
TEST_F(LayerOvertakenTest, a_long_chain_of_renamed_files_is_exported_from_either_end) {
  constexpr int kFiles = 300;
  const auto name = [](int i) { return fmt::format("f{:03}", i); };
  for (const int first : {1, kFiles}) {
    for (int i = 0; i < kFiles; ++i) remote_->put(name(i), fmt::format("content {}", i));
    remote_->erase(name(kFiles));
    machine_.age();
    for (int i = kFiles; i > 0; --i) ASSERT_EQ(machine_.rename(name(i - 1), name(i)), 0);
    const auto exported = machine_.layer().export_now(name(first), {}, nullptr);
    EXPECT_TRUE(exported) << exported.error().to_string();
    machine_.settle();
    for (int i = 0; i < kFiles; ++i) {
      ASSERT_EQ(remote_->content(name(i + 1)), fmt::format("content {}", i));
    }
    EXPECT_EQ(remote_->content(name(0)), std::nullopt);
    EXPECT_EQ(machine_.layer().counts().conflicts, 0U);
  }
}

// Extended attributes that are only in an object that another file is going to replace.
TEST_F(LayerOvertakenTest, files_that_change_places_keep_their_attributes) {
  const auto set = [&](std::string_view path, std::string_view value) {
    const auto found = machine_.look(path);
    ASSERT_TRUE(found);
    ASSERT_EQ(error_of(machine_.layer().set_xattr(found->inode, "user.of", value, 0)), 0);
  };
  const auto get = [&](std::string_view path) {
    const auto found = machine_.look(path);
    return found ? machine_.layer().xattr(found->inode, "user.of").value_or("none") : "no file";
  };
  ASSERT_EQ(machine_.make_directory("e"), 0);
  set("a", "a");
  set("d/b", "b");
  set("d", "d");
  set("e", "e");
  machine_.settle();
  machine_.stop();
  machine_.start();
  ASSERT_EQ(machine_.rename("a", "d/b", RENAME_EXCHANGE), 0);
  ASSERT_EQ(machine_.rename("d", "e", RENAME_EXCHANGE), 0);
  machine_.settle();
  machine_.age();
  EXPECT_EQ(get("a"), "b");
  EXPECT_EQ(get("e/b"), "a");
  EXPECT_EQ(get("d"), "e");
  EXPECT_EQ(get("e"), "d");
}

}  // namespace
}  // namespace atl::fs
