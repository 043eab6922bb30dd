// Two machines over one bucket: each sees what the other one has made of it.
#include <gmock/gmock.h>

#include <map>
#include <string>

#include "fs/failing_files.h"
#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using testing::Contains;

class LayerMachinesTest : public testing::Test {
 protected:
  LayerMachinesTest() : remote_(std::make_shared<storage::FakeRemote>()), machine_(remote_) {
    remote_->put("a", "alpha");
    remote_->put("d/b", "beta");
    remote_->put("d/e/c", "gamma");
    machine_.options.exports = ExportPolicy::kOnDemand;
  }
  // The same bucket seen by a machine that has never seen it.
  std::map<std::string, std::string> elsewhere() {
    Machine other(remote_);
    other.options.posix_metadata = PosixMetadata::kAlways;
    other.start();
    return other.tree();
  }
  std::shared_ptr<storage::FakeRemote> remote_;
  Machine machine_;
};

TEST_F(LayerMachinesTest, another_machine_sees_the_same_tree) {
  machine_.start();
  ASSERT_EQ(machine_.write("new", "content"), 0);
  ASSERT_EQ(machine_.make_directory("empty", 0700), 0);
  ASSERT_EQ(machine_.make_symlink("d/l", "../new"), 0);
  ASSERT_EQ(machine_.rename("d/e", "moved"), 0);
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0640, .gid = 33}), 0);
  const InodeNumber inode = machine_.look("a")->inode;
  ASSERT_EQ(error_of(machine_.layer().set_xattr(inode, "user.note", "hello", 0)), 0);
  ASSERT_EQ(machine_.set_attributes("a", {.modified = timespec{1'000'000, 123}}), 0);
  machine_.settle();
  EXPECT_EQ(elsewhere(), machine_.tree());
  Machine other(remote_);
  other.start();
  EXPECT_EQ(other.look("a")->modified.tv_nsec, 123);
  EXPECT_EQ(other.layer().xattr(other.look("a")->inode, "user.note"), "hello");
  machine_.stop();
  machine_.start();
  EXPECT_EQ(elsewhere(), machine_.tree());
}

// A copy onto itself, which gives other attributes, changes no ETag where that is made of the bytes.
TEST_F(LayerMachinesTest, attributes_that_another_machine_gives_show_here) {
  remote_->set_etags_by_content(true);
  machine_.start();
  ASSERT_EQ(machine_.make_directory("here", 0755), 0);
  ASSERT_EQ(machine_.write("here/file", "content"), 0);
  const InodeNumber inode = machine_.look("here/file")->inode;
  ASSERT_EQ(error_of(machine_.layer().set_xattr(inode, "user.note", "ours", 0)), 0);
  machine_.settle();
  const auto before = machine_.tree();
  {
    remote_->set_clock_ahead(std::chrono::minutes(1));  // clocks may differ by a few seconds
    Machine other(remote_);
    other.start();
    ASSERT_EQ(other.set_attributes("here", {.permissions = 0700, .gid = 33}), 0);
    ASSERT_EQ(other.set_attributes("here/file", {.permissions = 0600, .uid = 44}), 0);
    const InodeNumber there = other.look("here/file")->inode;
    ASSERT_EQ(error_of(other.layer().set_xattr(there, "user.note", "theirs", 0)), 0);
    other.settle();
  }
  EXPECT_EQ(machine_.tree(), before);
  machine_.age();
  const auto directory = machine_.look("here");
  EXPECT_EQ(directory->mode & 07777U, 0700U);
  EXPECT_EQ(directory->gid, 33U);
  const auto file = machine_.look("here/file");
  EXPECT_EQ(file->mode & 07777U, 0600U);
  EXPECT_EQ(file->uid, 44U);
  EXPECT_EQ(machine_.layer().xattr(inode, "user.note"), "theirs");
  EXPECT_EQ(machine_.read("here/file"), "content");
  // What is changed here from now on is put on theirs.
  ASSERT_EQ(machine_.set_attributes("here/file", {.gid = 55}), 0);
  machine_.settle();
  machine_.age();
  EXPECT_EQ(machine_.tree().at("here/file"), "100600 44 55 content");
  EXPECT_EQ(elsewhere(), machine_.tree());
}

TEST_F(LayerMachinesTest, so_does_a_listing_of_what_another_machine_has_given_other_attributes) {
  remote_->set_etags_by_content(true);
  machine_.start();
  ASSERT_EQ(machine_.make_directory("here"), 0);
  ASSERT_EQ(machine_.write("here/file", "content"), 0);
  ASSERT_EQ(machine_.set_attributes("here/file", {.permissions = 04711}), 0);
  machine_.settle();
  machine_.age();
  EXPECT_EQ(machine_.tree().at("here/file"), "104711 1 2 content");  // the bit that no bucket gives
  {
    remote_->set_clock_ahead(std::chrono::minutes(1));  // clocks may differ by a few seconds
    Machine other(remote_);
    other.start();
    ASSERT_EQ(other.set_attributes("here/file", {.permissions = 0600}), 0);
    other.settle();
  }
  machine_.age();
  EXPECT_EQ(machine_.tree().at("here/file"), "100600 1 2 content");
}

TEST_F(LayerMachinesTest, attributes_that_cannot_be_noted_are_no_error) {
  FailingFiles::get().never();
  remote_->set_etags_by_content(true);
  machine_.start();
  ASSERT_EQ(machine_.write("file", "content"), 0);
  machine_.settle();
  {
    remote_->set_clock_ahead(std::chrono::minutes(1));
    Machine other(remote_);
    other.start();
    ASSERT_EQ(other.set_attributes("file", {.permissions = 0600}), 0);
    other.settle();
  }
  machine_.age();
  FailingFiles::get().fail_at(0, true, SQLITE_FULL);
  EXPECT_EQ(machine_.look("file")->mode & 07777U, 0644U);
  EXPECT_THAT(machine_.list(""), Contains("file"));
  FailingFiles::get().never();
  EXPECT_EQ(machine_.look("file")->mode & 07777U, 0600U);
}

TEST_F(LayerMachinesTest, a_directory_with_work_in_it_needs_no_bucket) {
  machine_.start();
  ASSERT_EQ(machine_.write("d/b", "changed"), 0);
  int asked = 0;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call.starts_with("list")) ++asked;
    return Error{ErrorCode::kIo, "the server is away", {}, {}};
  });
  machine_.age();
  EXPECT_TRUE(machine_.look("d/b"));
  const int first = asked;
  EXPECT_GT(first, 0);
  EXPECT_TRUE(machine_.look("d/b"));
  EXPECT_EQ(asked, first);
  remote_->set_fault(nullptr);
}

TEST_F(LayerMachinesTest, metadata_is_found_again_in_directories_that_were_written_to) {
  machine_.start();
  ASSERT_EQ(machine_.write("d/new", "content"), 0);
  machine_.settle();
  Machine other(remote_);
  other.start();
  EXPECT_EQ(other.look("d/new")->mode, S_IFREG | 0644U);
  EXPECT_EQ(other.look("d/new")->uid, 1U);
}

}  // namespace
}  // namespace atl::fs
