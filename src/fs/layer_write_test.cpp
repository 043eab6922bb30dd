// What users change, before anything of it is in the bucket.
#include <gmock/gmock.h>
#include <linux/fs.h>
#include <sys/xattr.h>

#include <future>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Exports only on demand, so that nothing of what these tests see comes back from the bucket.
class LayerWriteTest : public testing::Test {
 protected:
  LayerWriteTest() : remote_(std::make_shared<storage::FakeRemote>()), machine_(remote_) {
    machine_.options.exports = ExportPolicy::kOnDemand;
    remote_->put("a", "alpha");
    remote_->put("d/b", "beta");
    remote_->put("d/e/c", "gamma");
    machine_.start();
  }
  std::shared_ptr<storage::FakeRemote> remote_;
  Machine machine_;
};

TEST_F(LayerWriteTest, a_new_file_is_there_with_its_content_and_owner) {
  EXPECT_EQ(machine_.write("new", "content"), 0);
  EXPECT_EQ(machine_.read("new"), "content");
  const auto attributes = machine_.look("new");
  ASSERT_TRUE(attributes);
  EXPECT_EQ(attributes->mode, S_IFREG | 0644U);
  EXPECT_EQ(attributes->uid, 1U);
  EXPECT_EQ(attributes->gid, 2U);
  EXPECT_EQ(attributes->size_bytes, 7U);
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "d", "new"));
  EXPECT_EQ(remote_->counts().uploads, 0U);
}

TEST_F(LayerWriteTest, a_write_into_an_object_fetches_only_what_is_read) {
  std::string text(100'000, 'x');
  remote_->put("big", text);
  machine_.age();
  EXPECT_EQ(machine_.write_at("big", 50'000, "HERE"), 0);
  EXPECT_EQ(remote_->counts().bytes_read, 0U);
  text.replace(50'000, 4, "HERE");
  EXPECT_EQ(machine_.read("big"), text);
  EXPECT_EQ(remote_->content("big"), std::string(100'000, 'x'));
}

TEST_F(LayerWriteTest, truncating_and_growing_leaves_zeros) {
  EXPECT_EQ(machine_.set_attributes("a", {.size_bytes = 2}), 0);
  EXPECT_EQ(machine_.read("a"), "al");
  EXPECT_EQ(machine_.set_attributes("a", {.size_bytes = 6}), 0);
  EXPECT_EQ(machine_.read("a"), std::string("al\0\0\0\0", 6));
  EXPECT_EQ(machine_.write_at("a", 8, "z"), 0);
  EXPECT_EQ(machine_.read("a"), std::string("al\0\0\0\0\0\0z", 9));
}

TEST_F(LayerWriteTest, appending_goes_to_the_end) {
  EXPECT_EQ(machine_.write_at("a", 0, "+1", O_WRONLY | O_APPEND), 0);
  EXPECT_EQ(machine_.write_at("a", 0, "+2", O_WRONLY | O_APPEND), 0);
  EXPECT_EQ(machine_.read("a"), "alpha+1+2");
}

TEST_F(LayerWriteTest, what_is_written_is_seen_by_other_handles_and_by_stat_before_close) {
  const auto writer = machine_.open("a", O_WRONLY);
  const auto reader = machine_.open("a", O_RDONLY);
  ASSERT_TRUE(writer && reader);
  const std::string bytes = "ALPHABET";
  ASSERT_TRUE(machine_.layer().write(*writer, 0, std::as_bytes(std::span(bytes))));
  EXPECT_EQ(machine_.read(*reader, 0, 100), "ALPHABET");
  EXPECT_EQ(machine_.look("a")->size_bytes, 8U);
  machine_.close(*writer);
  machine_.close(*reader);
}

TEST_F(LayerWriteTest, an_unlinked_file_can_still_be_read_and_written) {
  for (const char* name : {"a", "new"}) {
    if (std::string_view(name) == "new") {
      ASSERT_EQ(machine_.write("new", "alpha"), 0);
    }
    const auto handle = machine_.open(name, O_RDWR);
    ASSERT_TRUE(handle);
    EXPECT_EQ(machine_.unlink(name), 0);
    EXPECT_EQ(error_of(machine_.look(name)), ENOENT);
    EXPECT_EQ(machine_.read(*handle, 0, 100), "alpha");
    const std::string bytes = "B";
    ASSERT_TRUE(machine_.layer().write(*handle, 1, std::as_bytes(std::span(bytes))));
    EXPECT_EQ(machine_.read(*handle, 0, 100), "aBpha");
    EXPECT_EQ(machine_.write(name, "another"), 0);
    EXPECT_EQ(machine_.read(*handle, 0, 100), "aBpha");
    EXPECT_EQ(machine_.read(name), "another");
    EXPECT_EQ(error_of(machine_.layer().flush(*handle)), 0);
    machine_.close(*handle);
    EXPECT_EQ(machine_.read(name), "another");
  }
}

TEST_F(LayerWriteTest, directories_come_and_go) {
  EXPECT_EQ(machine_.make_directory("n"), 0);
  EXPECT_EQ(machine_.make_directory("n"), EEXIST);
  EXPECT_EQ(machine_.make_directory("a"), EEXIST);
  EXPECT_EQ(machine_.make_directory("n/m", 0700), 0);
  EXPECT_EQ(machine_.look("n/m")->mode, S_IFDIR | 0700U);
  EXPECT_EQ(machine_.remove_directory("n"), ENOTEMPTY);
  EXPECT_EQ(machine_.remove_directory("n/m"), 0);
  EXPECT_EQ(machine_.remove_directory("n"), 0);
  EXPECT_EQ(machine_.remove_directory("d"), ENOTEMPTY);
  EXPECT_EQ(machine_.remove_directory("a"), ENOTDIR);
  EXPECT_EQ(machine_.unlink("d"), EISDIR);
  EXPECT_EQ(machine_.unlink("d/e/c"), 0);
  EXPECT_THAT(machine_.list("d/e"), IsEmpty());  // it stays when the last file has gone
  EXPECT_EQ(machine_.remove_directory("d/e"), 0);
  EXPECT_THAT(machine_.list("d"), ElementsAre("b"));
  EXPECT_EQ(machine_.make_directory("d/e"), 0);
  EXPECT_THAT(machine_.list("d/e"), IsEmpty());
}

TEST_F(LayerWriteTest, a_renamed_file_keeps_content_and_number) {
  const auto before = machine_.look("a");
  ASSERT_TRUE(before);
  EXPECT_EQ(machine_.rename("a", "d/z"), 0);
  EXPECT_EQ(error_of(machine_.look("a")), ENOENT);
  EXPECT_EQ(machine_.read("d/z"), "alpha");
  EXPECT_EQ(machine_.look("d/z")->inode, before->inode);
  EXPECT_EQ(machine_.rename("d/z", "d/b"), 0);  // over another
  EXPECT_EQ(machine_.read("d/b"), "alpha");
  EXPECT_THAT(machine_.list("d"), ElementsAre("b", "e"));
  EXPECT_EQ(machine_.rename("d/b", "d/b"), 0);
  EXPECT_EQ(machine_.rename("nothing", "x"), ENOENT);
}

TEST_F(LayerWriteTest, a_renamed_directory_takes_along_what_lies_in_it) {
  EXPECT_EQ(machine_.write("d/new", "local"), 0);
  EXPECT_EQ(machine_.rename("d", "moved"), 0);
  EXPECT_EQ(error_of(machine_.look("d")), ENOENT);
  EXPECT_THAT(machine_.list("moved"), ElementsAre("b", "e", "new"));
  EXPECT_EQ(machine_.read("moved/e/c"), "gamma");
  EXPECT_EQ(machine_.read("moved/new"), "local");
  EXPECT_EQ(machine_.make_directory("d"), 0);
  EXPECT_THAT(machine_.list("d"), IsEmpty());
  EXPECT_EQ(machine_.rename("moved", "d"), 0);  // onto an empty one
  EXPECT_EQ(machine_.read("d/b"), "beta");
  EXPECT_EQ(machine_.rename("d", "d/e/inside"), EINVAL);
  EXPECT_EQ(machine_.make_directory("full"), 0);
  EXPECT_EQ(machine_.write("full/x", "1"), 0);
  EXPECT_EQ(machine_.rename("d", "full"), ENOTEMPTY);
  EXPECT_EQ(machine_.rename("d", "a"), ENOTDIR);
  EXPECT_EQ(machine_.rename("a", "d"), EISDIR);
}

TEST_F(LayerWriteTest, renaming_knows_noreplace_and_exchange) {
  EXPECT_EQ(machine_.rename("a", "d/b", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(machine_.rename("a", "d/b", RENAME_EXCHANGE), 0);
  EXPECT_EQ(machine_.read("a"), "beta");
  EXPECT_EQ(machine_.read("d/b"), "alpha");
  EXPECT_EQ(machine_.rename("a", "nothing", RENAME_EXCHANGE), ENOENT);
  EXPECT_EQ(machine_.rename("a", "d/e", RENAME_EXCHANGE), 0);  // a file and a directory
  EXPECT_EQ(machine_.read("a/c"), "gamma");
  EXPECT_EQ(machine_.read("d/e"), "beta");
  EXPECT_EQ(machine_.rename("d", "d/e", RENAME_EXCHANGE), EINVAL);
}

TEST_F(LayerWriteTest, attributes_are_kept) {
  EXPECT_EQ(machine_.set_attributes("a", {.permissions = 0600, .uid = 11, .gid = 12}), 0);
  EXPECT_EQ(machine_.set_attributes("a", {.modified = timespec{1'000'000, 5}}), 0);
  EXPECT_EQ(machine_.set_attributes("d", {.permissions = 0711}), 0);
  const auto file = machine_.look("a");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->mode, S_IFREG | 0600U);
  EXPECT_EQ(file->uid, 11U);
  EXPECT_EQ(file->gid, 12U);
  EXPECT_EQ(file->modified.tv_sec, 1'000'000);
  EXPECT_EQ(machine_.look("d")->mode, S_IFDIR | 0711U);
  EXPECT_EQ(machine_.read("a"), "alpha");
}

TEST_F(LayerWriteTest, extended_attributes_are_the_users_own_and_small) {
  FileLayer& layer = machine_.layer();
  const InodeNumber inode = machine_.look("a")->inode;
  EXPECT_EQ(error_of(layer.xattr(inode, "user.x")), ENODATA);
  EXPECT_EQ(error_of(layer.set_xattr(inode, "user.x", std::string("\0\xff", 2), 0)), 0);
  EXPECT_EQ(layer.xattr(inode, "user.x"), std::string("\0\xff", 2));
  EXPECT_EQ(error_of(layer.set_xattr(inode, "user.x", "y", XATTR_CREATE)), EEXIST);
  EXPECT_EQ(error_of(layer.set_xattr(inode, "user.z", "y", XATTR_REPLACE)), ENODATA);
  EXPECT_EQ(error_of(layer.set_xattr(inode, "trusted.z", "y", 0)), ENOTSUP);
  EXPECT_EQ(error_of(layer.set_xattr(inode, "user.big", std::string(4000, 'x'), 0)), ENOSPC);
  EXPECT_THAT(*layer.xattrs(inode), ElementsAre("user.x"));
  EXPECT_EQ(error_of(layer.remove_xattr(inode, "user.x")), 0);
  EXPECT_EQ(error_of(layer.remove_xattr(inode, "user.x")), ENODATA);
}

TEST_F(LayerWriteTest, symlinks_say_where_they_point) {
  EXPECT_EQ(machine_.make_symlink("l", "d/b"), 0);
  const auto link = machine_.look("l");
  ASSERT_TRUE(link);
  EXPECT_EQ(link->mode, S_IFLNK | 0777U);
  EXPECT_EQ(link->size_bytes, 3U);
  EXPECT_EQ(machine_.layer().read_symlink(link->inode), "d/b");
  EXPECT_EQ(error_of(machine_.layer().open(link->inode, O_RDONLY)), ELOOP);
}

TEST_F(LayerWriteTest, names_that_could_be_no_keys_are_refused) {
  EXPECT_EQ(machine_.write(std::string(256, 'x'), ""), ENAMETOOLONG);
  EXPECT_EQ(machine_.write("bad\xff", ""), EILSEQ);
  EXPECT_EQ(machine_.write(".atoll-tmp-x", ""), EINVAL);
  std::string deep;
  int error = 0;
  while (error == 0 && deep.size() < 2000) {
    deep += (deep.empty() ? "" : "/") + std::string(200, 'd');
    error = machine_.make_directory(deep);
  }
  EXPECT_EQ(error, ENAMETOOLONG);
  EXPECT_LE(deep.size(), 1300U);
  for (const char* from : {"a", "d"}) {
    EXPECT_EQ(machine_.rename(from, std::string(256, 'x')), ENAMETOOLONG);
    EXPECT_EQ(machine_.rename(from, "bad\xff"), EILSEQ);
    EXPECT_EQ(machine_.rename(from, ".atoll-tmp-x"), EINVAL);
  }
  EXPECT_EQ(machine_.read("a"), "alpha");
  EXPECT_EQ(machine_.read("d/b"), "beta");
}

TEST_F(LayerWriteTest, a_directory_that_could_not_be_renamed_shows_the_bucket_as_before) {
  const std::string deep = "d/" + std::string(200, 'x') + "/" + std::string(200, 'y') + "/" +
                           std::string(200, 'z') + "/" + std::string(200, 'u') + "/";
  remote_->put(deep + std::string(150, 'v'), "deep");
  machine_.start();
  machine_.age();
  EXPECT_EQ(machine_.rename("d", std::string(100, 'e')), ENAMETOOLONG);
  remote_->put("d/b", "theirs");
  remote_->put("d/new", "new");
  machine_.age();
  EXPECT_EQ(machine_.read("d/b"), "theirs");
  EXPECT_EQ(machine_.read("d/new"), "new");
  remote_->set_fault([](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("list")) return std::nullopt;
    return Error{ErrorCode::kIo, "the server is away", {}, {}};
  });
  machine_.age();
  EXPECT_EQ(machine_.rename("d", "e"), EIO);
  remote_->set_fault(nullptr);
  remote_->put("d/newer", "newer");
  machine_.age();
  EXPECT_EQ(machine_.read("d/newer"), "newer");
}

TEST_F(LayerWriteTest, a_directory_from_which_all_has_gone_in_the_bucket_can_be_removed) {
  ASSERT_EQ(machine_.make_directory("own"), 0);
  ASSERT_EQ(machine_.write("own/f", "kept"), 0);
  machine_.settle();
  remote_->erase("own/f");
  remote_->erase("own/");
  machine_.age();
  EXPECT_THAT(machine_.list("own"), IsEmpty());
  EXPECT_EQ(machine_.remove_directory("own"), 0);
  EXPECT_EQ(error_of(machine_.look("own")), ENOENT);
}

TEST_F(LayerWriteTest, so_can_one_in_which_much_is_still_to_be_removed) {
  for (int i = 0; i < 600; ++i) remote_->put("own/f" + std::to_string(1000 + i), "x");
  machine_.start();
  machine_.age();
  ASSERT_EQ(machine_.write("own/z", "kept"), 0);
  machine_.settle();
  for (int i = 0; i < 600; ++i) ASSERT_EQ(machine_.unlink("own/f" + std::to_string(1000 + i)), 0);
  remote_->erase("own/z");
  machine_.age();
  auto removed = std::async(std::launch::async, [&] { return machine_.remove_directory("own"); });
  if (removed.wait_for(std::chrono::minutes(1)) != std::future_status::ready) std::abort();
  EXPECT_EQ(removed.get(), 0);
}

TEST_F(LayerWriteTest, what_is_made_in_a_setgid_directory_gets_its_group) {
  ASSERT_EQ(machine_.make_directory("team"), 0);
  ASSERT_EQ(machine_.set_attributes("team", {.permissions = 02775, .gid = 77}), 0);
  ASSERT_EQ(machine_.write("team/file", ""), 0);
  ASSERT_EQ(machine_.make_directory("team/below"), 0);
  ASSERT_EQ(machine_.make_symlink("team/below/link", "x"), 0);
  for (const char* path : {"team/file", "team/below", "team/below/link"}) {
    EXPECT_EQ(machine_.look(path)->gid, 77U) << path;
  }
  EXPECT_EQ(machine_.look("team/below")->mode & 07777U, 02755U);
  EXPECT_EQ(machine_.look("team/file")->mode & 07777U, 0644U);
}

TEST_F(LayerWriteTest, everything_is_there_again_after_a_crash) {
  ASSERT_EQ(machine_.write("new", "content"), 0);
  ASSERT_EQ(machine_.write_at("a", 2, "PH"), 0);
  ASSERT_EQ(machine_.rename("d", "e"), 0);
  ASSERT_EQ(machine_.make_symlink("l", "t"), 0);
  ASSERT_EQ(machine_.make_directory("empty"), 0);
  ASSERT_EQ(machine_.unlink("e/b"), 0);
  const auto before = machine_.tree();
  machine_.crash();
  machine_.start();
  EXPECT_EQ(machine_.tree(), before);
  EXPECT_EQ(machine_.read("a"), "alPHa");
}

TEST_F(LayerWriteTest, a_file_that_was_not_closed_may_lose_its_end_but_never_gets_bytes_of_others) {
  const auto handle = machine_.open("u", O_WRONLY | O_CREAT);
  ASSERT_TRUE(handle);
  const std::string first = "first";
  ASSERT_TRUE(machine_.layer().write(*handle, 0, std::as_bytes(std::span(first))));
  ASSERT_EQ(error_of(machine_.layer().fsync(*handle)), 0);
  const std::string second = "second";
  ASSERT_TRUE(machine_.layer().write(*handle, 5, std::as_bytes(std::span(second))));
  machine_.crash();
  machine_.start();
  EXPECT_EQ(machine_.read("u"), "first");
  EXPECT_EQ(machine_.set_attributes("u", {.size_bytes = 8}), 0);
  EXPECT_EQ(machine_.read("u"), std::string("first\0\0\0", 8));
}

TEST_F(LayerWriteTest, a_full_disk_is_ENOSPC_and_costs_nothing_that_was_there) {
  std::atomic<bool> full = false;
  machine_.options.disk_fault = [&](std::string_view call) {
    return full && (call == "pwrite" || call == "open") ? ENOSPC : 0;
  };
  machine_.start();
  ASSERT_EQ(machine_.write("f", "before"), 0);
  full = true;
  EXPECT_EQ(machine_.write_at("f", 0, "after"), ENOSPC);
  EXPECT_EQ(machine_.write("g", "x"), ENOSPC);
  EXPECT_EQ(error_of(machine_.look("g")), ENOENT);
  EXPECT_EQ(machine_.write_at("a", 0, "x"), ENOSPC);
  full = false;
  EXPECT_EQ(machine_.read("f"), "before");
  EXPECT_EQ(machine_.read("a"), "alpha");
  EXPECT_EQ(machine_.write("g", "x"), 0);
}

}  // namespace
}  // namespace atl::fs
