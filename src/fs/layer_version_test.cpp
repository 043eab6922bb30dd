// Files of which somebody has an older version open than the bucket has, and older versions that come back.
#include <gmock/gmock.h>
#include <linux/fs.h>

#include <atomic>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;

class LayerVersionTest : public LayerTest {
 protected:
  // A handle of "alpha", which has been read; the bucket has "theirs" by now.
  Handle open_before_it_is_replaced(int flags) {
    const auto open = machine_.open("a", flags);
    EXPECT_TRUE(open);
    EXPECT_EQ(machine_.read(*open, 0, 10), "alpha");
    remote_->put("a", "theirs");
    machine_.age();
    return *open;
  }
};

// Its attributes are changed by the path, after the bucket has got a version that the open file is not of.
TEST_F(LayerVersionTest, what_is_written_into_an_older_version_never_replaces_a_newer_one) {
  start(ConflictPolicy::kKeepBoth);
  const std::string bytes = "LL";
  for (const bool settle_first : {false, true}) {
    for (const bool rename : {false, true}) {
      SCOPED_TRACE(testing::Message() << settle_first << rename);
      remote_->put("a", "alpha");
      remote_->erase("z");
      machine_.age();
      const auto open = machine_.open("a", O_RDWR);
      ASSERT_TRUE(open);
      remote_->put("a", "theirs");
      machine_.age();
      ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
      if (rename) {
        ASSERT_EQ(machine_.rename("a", "z"), 0);
      }
      if (settle_first) machine_.settle();
      const auto written = machine_.layer().write(*open, 2, std::as_bytes(std::span(bytes)));
      EXPECT_EQ(error_of(written), ESTALE);
      machine_.close(*open);
      machine_.settle();
      EXPECT_EQ(remote_->content(rename ? "z" : "a"), "theirs");
      if (rename) {
        EXPECT_EQ(remote_->content("a"), std::nullopt);
      }
      EXPECT_EQ(machine_.layer().counts().conflicts, 0U);
    }
  }
}

TEST_F(LayerVersionTest, what_is_written_into_an_older_version_is_put_beside_the_newer_one) {
  start(ConflictPolicy::kKeepBoth);
  const Handle open = open_before_it_is_replaced(O_RDWR);
  ASSERT_TRUE(machine_.look("a"));
  const std::string bytes = "LL";
  EXPECT_TRUE(machine_.layer().write(open, 2, std::as_bytes(std::span(bytes))));
  machine_.close(open);
  settle_with_conflicts(1);
  EXPECT_EQ(remote_->content("a"), "theirs");
  EXPECT_EQ(remote_->content(machine_.list("")[1]), "alLLa");
}

TEST_F(LayerVersionTest,
       who_opens_a_file_that_was_replaced_gets_the_new_version_whoever_has_the_old_one) {
  start(ConflictPolicy::kKeepBoth);
  const Handle before = open_before_it_is_replaced(O_RDONLY);
  EXPECT_EQ(machine_.read("a"), "theirs");
  EXPECT_EQ(machine_.read(before, 0, 10), "alpha");
  machine_.close(before);
}

// The kernel has one memory of a file for all of its handles.
TEST_F(LayerVersionTest, the_kernel_keeps_nothing_of_a_file_that_is_open_in_two_versions) {
  start(ConflictPolicy::kKeepBoth);
  const auto inode = machine_.look("a")->inode;
  const auto open = [&] {
    const auto opened = machine_.layer().open(inode, O_RDONLY);
    EXPECT_TRUE(opened);
    return opened.value_or(FileLayer::Opened{});
  };
  const auto before = open();
  EXPECT_FALSE(before.direct_io);
  remote_->put("a", "theirs");
  machine_.age();
  for (int i = 0; i < 2; ++i) {
    const auto after = open();
    EXPECT_TRUE(after.direct_io);
    EXPECT_FALSE(after.keep_cache);
    machine_.close(after.handle);
  }
  machine_.close(before.handle);
  const auto alone = open();
  EXPECT_FALSE(alone.direct_io);
  EXPECT_FALSE(alone.keep_cache);
  machine_.close(alone.handle);
  const auto again = open();
  EXPECT_TRUE(again.keep_cache);
  machine_.close(again.handle);
}

// Two files change places, and one that somebody has open is replaced in the bucket while its bytes are fetched.
class ReplacedWhileFetchedTest : public LayerVersionTest {
 protected:
  static constexpr size_t kSize = size_t{10} << 20;
  void begin(int flags) {
    remote_->put("p", std::string(kSize, 'p'));
    remote_->put("q", std::string(kSize, 'q'));
    machine_.options.export_workers = 1;
    start(ConflictPolicy::kKeepBoth);
    open_ = *machine_.open("q", flags);
    ASSERT_EQ(machine_.read(open_, 0, 10), std::string(10, 'q'));
    ASSERT_EQ(machine_.rename("p", "q", RENAME_EXCHANGE), 0);
    remote_->set_fault([this](std::string_view call) -> std::optional<Error> {
      if (call != "read q" || ++reads_ != 300) return std::nullopt;  // more than the first step
      replace();
      return std::nullopt;
    });
  }
  void replace() { remote_->put("q", std::string(kSize, 'n')); }
  void TearDown() override {
    remote_->set_fault(nullptr);
    machine_.close(open_);
  }
  std::atomic<int> reads_ = 0;
  Handle open_ = 0;
};

TEST_F(ReplacedWhileFetchedTest, who_has_it_open_gets_no_byte_of_the_other_version) {
  begin(O_RDONLY);
  machine_.settle();
  EXPECT_GT(reads_, 300);
  for (const uint64_t at : {uint64_t{0}, uint64_t{5'000'000}, uint64_t{kSize - 10}}) {
    const auto bytes = machine_.read(open_, at, 10);
    EXPECT_TRUE(bytes ? *bytes == std::string(10, 'q') : error_of(bytes) == ESTALE) << at;
  }
  // Ours is beside theirs, and what was moved took the new content along.
  std::string contents;
  for (const std::string& name : machine_.list("")) {
    if (name != "a" && name != "d") contents += machine_.read(name)->substr(kSize - 1);
  }
  EXPECT_EQ(contents, "nnp");
}

TEST_F(ReplacedWhileFetchedTest, what_nobody_has_written_to_gets_no_zeros) {
  begin(O_RDWR);
  remote_->set_fault([this](std::string_view call) -> std::optional<Error> {
    if (call != "read q" || ++reads_ < 300) return std::nullopt;
    return Error{ErrorCode::kIo, "the server is away", {}, {}};
  });
  EXPECT_FALSE(machine_.layer().export_now("", {}, nullptr));
  replace();
  remote_->set_fault(nullptr);
  machine_.settle();
  EXPECT_EQ(machine_.tree().at("p"), "100755 0 0 " + std::string(kSize, 'n'));
  EXPECT_THAT(machine_.log(), testing::Not(Contains(HasSubstr("zeros"))));
}

// The kernel asks for a file to be made where it remembers that there was none.
TEST_F(LayerVersionTest, so_does_it_of_a_file_that_is_opened_by_making_it) {
  start(ConflictPolicy::kKeepBoth);
  const Handle before = open_before_it_is_replaced(O_RDONLY);
  const auto made = machine_.layer().create(kRoot, "a", 0644, 1, 2, O_RDWR | O_CREAT);
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->opened.direct_io);
  EXPECT_FALSE(made->opened.keep_cache);
  machine_.close(made->opened.handle);
  machine_.close(before);
}

TEST_F(LayerVersionTest,
       the_kernel_keeps_nothing_of_a_version_that_our_attributes_were_not_put_on) {
  start(ConflictPolicy::kKeepBoth);
  const auto inode = machine_.look("a")->inode;
  machine_.close(*machine_.open("a", O_RDONLY));
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
  remote_->put("a", "their");
  settle_with_conflicts(1);
  const auto opened = machine_.layer().open(inode, O_RDONLY);
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->keep_cache);
  EXPECT_EQ(machine_.read(opened->handle, 0, 10), "their");
  machine_.close(opened->handle);
}

TEST_F(LayerVersionTest, a_truncation_through_a_handle_of_an_unlinked_older_version_is_seen_there) {
  start(ConflictPolicy::kKeepBoth);
  const Handle open = open_before_it_is_replaced(O_RDWR);
  const auto inode = machine_.look("a")->inode;
  ASSERT_TRUE(
      machine_.layer().open(inode, O_RDONLY));  // from here on the older one is the handle's alone
  ASSERT_EQ(machine_.unlink("a"), 0);
  AttributeChanges cut{.size_bytes = 2, .through = open};
  EXPECT_EQ(error_of(machine_.layer().set_attributes(inode, cut)), 0);
  EXPECT_EQ(machine_.read(open, 0, 10), "al");
  machine_.close(open);
}

TEST_F(LayerVersionTest, a_read_of_what_the_bucket_has_lost_says_so) {
  remote_->put("big", std::string(100'000, 'x'));
  start(ConflictPolicy::kKeepBoth);
  const auto open = machine_.open("big", O_RDONLY);
  ASSERT_TRUE(open);
  remote_->erase("big");
  EXPECT_EQ(error_of(machine_.read(*open, 90'000, 10)), ESTALE);
  machine_.close(*open);
}

TEST_F(LayerVersionTest, a_handle_of_an_older_version_gets_nothing_of_ours) {
  const std::string older(100'000, 'a');
  remote_->put("big", older);
  start(ConflictPolicy::kKeepBoth);
  const auto open = machine_.open("big", O_RDONLY);
  ASSERT_TRUE(open);
  ASSERT_EQ(machine_.read(*open, 0, 10), older.substr(0, 10));
  remote_->put("big", std::string(100'000, 'b'));
  machine_.age();
  ASSERT_EQ(machine_.write("big", std::string(100'000, 'c')), 0);
  remote_->set_lost_answer([](std::string_view call) -> std::optional<Error> {
    if (call != "upload big") return std::nullopt;
    return Error{ErrorCode::kIo, "the connection was reset", {}, {}};
  });
  EXPECT_FALSE(machine_.layer().export_now("big", {}, nullptr));
  EXPECT_EQ(error_of(machine_.read(*open, 90'000, 10)), ESTALE);
  remote_->set_lost_answer(nullptr);
  machine_.close(*open);
  settle_with_conflicts(0);
}

TEST_F(LayerVersionTest, a_truncation_through_a_handle_whose_file_was_replaced_is_an_error) {
  start(ConflictPolicy::kKeepBoth);
  const auto open = machine_.open("a", O_RDWR);
  ASSERT_TRUE(open);
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  EXPECT_EQ(machine_.set_attributes("a", {.size_bytes = 0, .through = *open}), ESTALE);
  machine_.close(*open);
  settle_with_conflicts(1);
  EXPECT_EQ(remote_->content("a"), "theirs");
}

// Who brings back an older version brings back its metadata, our tag among them.
TEST_F(LayerVersionTest, an_older_version_of_ours_that_somebody_brought_back_is_theirs) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write("a", "first"), 0);
  machine_.settle();
  const auto metadata = remote_->metadata("a");
  ASSERT_EQ(machine_.write("a", "other"), 0);
  machine_.settle();
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600}), 0);
  remote_->put("a", "first", metadata);
  settle_with_conflicts(1);
  EXPECT_EQ(remote_->content("a"), "first");
  EXPECT_EQ(machine_.read("a"), "first");
}

TEST_F(LayerVersionTest,
       an_older_version_of_ours_that_somebody_brought_back_is_kept_beside_new_content) {
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write("a", "first"), 0);
  machine_.settle();
  const auto metadata = remote_->metadata("a");
  ASSERT_EQ(machine_.write("a", "other"), 0);
  machine_.settle();
  ASSERT_EQ(machine_.write("a", "third"), 0);
  remote_->put("a", "first", metadata);
  settle_with_conflicts(1);
  machine_.settle();
  EXPECT_EQ(remote_->content("a"), "first");
  ASSERT_EQ(machine_.list("").size(), 3U);
  EXPECT_EQ(remote_->content(machine_.list("")[1]), "third");
}

// What has not been fetched of the version that was written into is not to be had; it is not in the older one.
TEST_F(LayerVersionTest, an_older_version_of_ours_that_somebody_brought_back_lends_no_bytes) {
  remote_->put("big", std::string(100'000, '0'));
  start(ConflictPolicy::kKeepBoth);
  ASSERT_EQ(machine_.write("big", std::string(100'000, '1')), 0);
  machine_.settle();
  const auto metadata = remote_->metadata("big");
  ASSERT_EQ(machine_.write("big", std::string(100'000, '2')), 0);
  machine_.settle();
  machine_.stop();  // nor does its memory have it
  machine_.start();
  ASSERT_EQ(machine_.layer().release("big", std::chrono::seconds(-1), nullptr)->files, 1U);
  ASSERT_EQ(machine_.write_at("big", 50'000, "X"), 0);
  remote_->put("big", std::string(100'000, '1'), metadata);
  settle_with_conflicts(1);
  std::string aside;
  for (const std::string& name : machine_.list("")) {
    if (name.starts_with("big.conflict-")) aside = name;
  }
  const auto kept = remote_->content(aside);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->find('1'), std::string::npos);
  EXPECT_EQ(kept->at(50'000), 'X');
  EXPECT_THAT(machine_.log(), Contains(HasSubstr("zeros stand for them")));
}

// A handle from before the bucket's version came: its reader keeps what there was, its writer is told.
TEST_F(LayerVersionTest, a_write_through_a_handle_whose_file_was_replaced_is_an_error) {
  start(ConflictPolicy::kKeepBoth);
  const std::string bytes = "mine";
  for (const std::string path : {"a", "d/b"}) {
    const auto open = machine_.open(path, O_RDWR);
    ASSERT_TRUE(open);
    ASSERT_EQ(machine_.set_attributes(path, {.permissions = 0600}), 0);
    remote_->put(path, "theirs");
    machine_.settle();
    const auto written = machine_.layer().write(*open, 0, std::as_bytes(std::span(bytes)));
    EXPECT_EQ(error_of(written), ESTALE);
    const auto read = machine_.read(*open, 0, 10);
    EXPECT_EQ(path == "a" ? read.value_or("none") : "alpha", "alpha");  // which was in the cache
    EXPECT_EQ(error_of(read), path == "a" ? 0 : ESTALE);
    machine_.close(*open);
    machine_.settle();
    EXPECT_EQ(machine_.read(path), "theirs");
    EXPECT_EQ(machine_.layer().counts().conflicts, path == "a" ? 1U : 2U);
  }
}

TEST_F(LayerVersionTest,
       what_is_written_after_the_local_version_was_dropped_is_an_error_at_its_close) {
  start(ConflictPolicy::kRemoteWins);
  const auto open = machine_.open("a", O_RDWR);
  ASSERT_TRUE(open);
  const std::string bytes = "mine";
  ASSERT_TRUE(machine_.layer().write(*open, 0, std::as_bytes(std::span(bytes))));
  ASSERT_EQ(error_of(machine_.layer().flush(*open)), 0);
  remote_->put("a", "theirs");
  settle_with_conflicts(1);
  (void)machine_.layer().write(*open, 0, std::as_bytes(std::span(bytes)));
  EXPECT_EQ(error_of(machine_.layer().flush(*open)), ESTALE);
  machine_.close(*open);
  EXPECT_EQ(machine_.read("a"), "theirs");
}

}  // namespace
}  // namespace atl::fs
