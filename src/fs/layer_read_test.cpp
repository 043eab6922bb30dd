// What users see of a bucket that nobody changes through the layer.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <thread>

#include "fs/layer_fixture.h"
#include "storage/cache/block_parts.h"

namespace atl::fs {
namespace {

using testing::ElementsAre;

std::string text_of(size_t n) {
  std::string text(n, '\0');
  for (size_t i = 0; i < n; ++i) text[i] = static_cast<char>(i * 31 + i / 253);
  return text;
}

class LayerReadTest : public testing::Test {
 protected:
  LayerReadTest() : remote_(std::make_shared<storage::FakeRemote>()), machine_(remote_) {}
  std::shared_ptr<storage::FakeRemote> remote_;
  Machine machine_;
};

TEST_F(LayerReadTest, a_bucket_is_a_tree) {
  remote_->put("a.txt", "one");
  remote_->put("train/1.jpg", "two");
  remote_->put("train/deep/er/2.jpg", "three");
  machine_.start();
  EXPECT_THAT(machine_.list(""), ElementsAre("a.txt", "train"));
  EXPECT_THAT(machine_.list("train"), ElementsAre("1.jpg", "deep"));
  EXPECT_EQ(machine_.read("train/deep/er/2.jpg"), "three");
  const auto directory = machine_.look("train/deep");
  ASSERT_TRUE(directory);
  EXPECT_EQ(directory->mode, S_IFDIR | 0755U);
  const auto file = machine_.look("a.txt");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->mode, S_IFREG | 0755U);
  EXPECT_EQ(file->uid, 0U);
  EXPECT_EQ(file->size_bytes, 3U);
  EXPECT_EQ(error_of(machine_.look("nothing")), ENOENT);
  EXPECT_EQ(error_of(machine_.look("a.txt/x")), ENOTDIR);
}

TEST_F(LayerReadTest, a_file_of_many_blocks_reads_back_in_any_order_and_is_fetched_once) {
  const std::string text = text_of(300'000);
  remote_->put("big", text);
  machine_.start();
  EXPECT_EQ(machine_.read("big"), text);
  const auto handle = machine_.open("big", O_RDONLY);
  ASSERT_TRUE(handle);
  for (const uint64_t offset : {299'990U, 0U, 4095U, 123'456U, 8191U, 250'000U}) {
    EXPECT_EQ(machine_.read(*handle, offset, 9000), text.substr(offset, 9000)) << offset;
  }
  EXPECT_EQ(machine_.read(*handle, 300'000, 10), "");
  machine_.close(*handle);
  EXPECT_EQ(remote_->counts().bytes_read, text.size());
}

TEST_F(LayerReadTest, the_files_after_those_that_are_read_in_order_come_ahead) {
  for (int i = 0; i < 9; ++i) remote_->put(fmt::format("d/{}", i), text_of(100));
  remote_->put("d/8-big", text_of(9'000'000));
  remote_->put("d/9", text_of(100));
  machine_.start();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(machine_.read(fmt::format("d/{}", i)), text_of(100));
  // Nobody has opened the others; the test's time limit ends it where they never come.
  while (remote_->counts().bytes_read < 600) std::this_thread::yield();
  for (int i = 3; i < 9; ++i) EXPECT_EQ(machine_.read(fmt::format("d/{}", i)), text_of(100));
  // The last one comes behind the long one, which its reader can well wait for.
  while (remote_->counts().bytes_read < 1000) std::this_thread::yield();
  EXPECT_EQ(remote_->counts().bytes_read, 1000U);
}

TEST_F(LayerReadTest, a_handle_that_jumps_fetches_parts_and_one_that_goes_on_the_rest) {
  machine_.block_bytes = 4 * storage::kPartBytes;
  const uint64_t block = machine_.block_bytes;
  const std::string text = text_of(8 * block);
  remote_->put("big", text);
  machine_.start();
  const auto handle = machine_.open("big", O_RDONLY);
  ASSERT_TRUE(handle);
  const auto reads = [&](uint64_t offset, uint64_t size) {
    return machine_.read(*handle, offset, size) == text.substr(offset, size);
  };
  EXPECT_TRUE(reads(5 * block + 1000, 9000));
  EXPECT_TRUE(reads(2 * block + 2 * storage::kPartBytes + 10, 9000));
  EXPECT_TRUE(reads(7 * block - 100, 200));  // over two blocks
  EXPECT_EQ(remote_->counts().bytes_read, 4 * storage::kPartBytes);
  for (uint64_t offset = 0; offset < text.size(); offset += 100'000) {
    ASSERT_TRUE(reads(offset, 100'000)) << offset;
  }
  machine_.close(*handle);
  EXPECT_EQ(remote_->counts().bytes_read, text.size());
}

TEST_F(LayerReadTest, a_handle_that_goes_on_after_a_jump_is_read_ahead_of) {
  machine_.block_bytes = 4 * storage::kPartBytes;
  const uint64_t block = machine_.block_bytes;
  const std::string text = text_of(8 * block);
  remote_->put("big", text);
  machine_.start();
  const auto handle = machine_.open("big", O_RDONLY);
  ASSERT_TRUE(handle);
  EXPECT_EQ(machine_.read(*handle, 3 * block, 1000), text.substr(3 * block, 1000));
  EXPECT_EQ(remote_->counts().bytes_read, storage::kPartBytes);
  // What a header tells of.
  EXPECT_EQ(machine_.read(*handle, 3 * block + 1000, 1000), text.substr(3 * block + 1000, 1000));
  EXPECT_EQ(remote_->counts().bytes_read, storage::kPartBytes);
  EXPECT_EQ(machine_.read(*handle, 3 * block + 2000, storage::kPartBytes),
            text.substr(3 * block + 2000, storage::kPartBytes));
  // The block that it is in and the first window; the test's time limit ends it where they never come.
  while (remote_->counts().bytes_read < 3 * block) std::this_thread::yield();
  machine_.close(*handle);
  EXPECT_EQ(remote_->counts().bytes_read, 3 * block);
}

TEST_F(LayerReadTest, what_does_not_come_is_asked_for_once_by_a_read_and_again_by_the_next) {
  machine_.start();
  std::atomic<int> asked = 0;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("read ")) return std::nullopt;
    ++asked;
    // What fails before the reader has come to its block is asked for again; that is not meant here.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return Error{ErrorCode::kIo, "no answer", {}, {}};
  });
  remote_->put("big", std::string(12'000, 'x'));
  machine_.age();
  const auto handle = machine_.open("big", O_RDONLY);
  ASSERT_TRUE(handle);
  // Read ahead by one request, each of whose blocks is then waited for.
  EXPECT_EQ(error_of(machine_.read(*handle, 0, 12'000)), EIO);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(error_of(machine_.read(*handle, 0, 100)), EIO);
  EXPECT_EQ(asked, 2);
  remote_->set_fault(nullptr);
  EXPECT_EQ(machine_.read(*handle, 0, 12'000), std::string(12'000, 'x'));
  machine_.close(*handle);
}

TEST_F(LayerReadTest, nothing_can_be_changed_where_the_layer_is_read_only) {
  remote_->put("a", "1");
  machine_.options.read_only = true;
  machine_.start();
  EXPECT_EQ(machine_.write("b", "x"), EROFS);
  EXPECT_EQ(machine_.write_at("a", 0, "x"), EROFS);
  EXPECT_EQ(machine_.make_directory("d"), EROFS);
  EXPECT_EQ(machine_.make_symlink("l", "a"), EROFS);
  EXPECT_EQ(machine_.unlink("a"), EROFS);
  EXPECT_EQ(machine_.rename("a", "b"), EROFS);
  EXPECT_EQ(machine_.set_attributes("a", {.permissions = 0600}), EROFS);
  EXPECT_EQ(machine_.read("a"), "1");
}

TEST_F(LayerReadTest, attributes_come_from_the_metadata_that_fsx_writes) {
  remote_->put(
      "d/", "", {{"file-permissions", "0040750"}, {"file-owner", "7"}, {"file-group", "8"}});
  remote_->put("d/f",
               "x",
               {{"file-permissions", "0104640"},
                {"file-owner", "1001"},
                {"file-group", "1002"},
                {"file-mtime", "1595002920000000123ns"},
                {"file-atime", "1595002921000"}});
  remote_->put("d/link", "../else/where", {{"file-permissions", "0120777"}});
  machine_.start();
  const auto directory = machine_.look("d");
  ASSERT_TRUE(directory);
  EXPECT_EQ(directory->mode, S_IFDIR | 0750U);
  EXPECT_EQ(directory->uid, 7U);
  const auto file = machine_.look("d/f");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->mode, S_IFREG | 0640U);  // without setuid
  EXPECT_EQ(file->uid, 1001U);
  EXPECT_EQ(file->gid, 1002U);
  EXPECT_EQ(file->modified.tv_sec, 1595002920);
  EXPECT_EQ(file->modified.tv_nsec, 123);
  EXPECT_EQ(file->accessed.tv_sec, 1595002921);
  const auto link = machine_.look("d/link");
  ASSERT_TRUE(link);
  EXPECT_EQ(link->mode, S_IFLNK | 0777U);
  EXPECT_EQ(machine_.layer().read_symlink(link->inode), "../else/where");
}

TEST_F(LayerReadTest, a_plain_bucket_is_listed_without_a_head_for_each_object) {
  for (int i = 0; i < 5000; ++i) remote_->put("train/" + std::to_string(i), "x");
  machine_.start();
  EXPECT_EQ(machine_.list("train").size(), 5000U);
  EXPECT_EQ(remote_->counts().stats, 0U);
  EXPECT_LE(remote_->counts().lists, 20U);
}

TEST_F(LayerReadTest, hostile_keys_do_not_show) {
  for (const char* key : {"../x", "a//b", "/abs", "ok/../up", "./dot", "d/."})
    remote_->put(key, "x");
  // No UTF-8: a name is bytes.
  for (const char* key : {"bad\xff\xfe/name", "bad\xc3"}) remote_->put(key, "z");
  remote_->put("good", "x");
  remote_->put("line\nbreak", "y");
  machine_.start();
  EXPECT_THAT(machine_.list(""), testing::Contains("good"));
  for (const std::string& name : machine_.list("")) {
    EXPECT_NE(name, "..");
    EXPECT_NE(name, ".");
    EXPECT_NE(name, "");
    EXPECT_EQ(name.find('/'), std::string::npos);
  }
  EXPECT_EQ(error_of(machine_.layer().lookup(kRoot, "..")), ENOENT);
  EXPECT_EQ(error_of(machine_.layer().lookup(kRoot, "ok/../up")), ENOENT);
  EXPECT_EQ(machine_.read("line\nbreak"), "y");
  EXPECT_EQ(machine_.read("bad\xff\xfe/name"), "z");
  EXPECT_EQ(machine_.read("bad\xc3"), "z");
  EXPECT_EQ(machine_.layer().counts().hidden_keys, 6U);
}

TEST_F(LayerReadTest, a_listing_goes_on_where_it_stopped_and_counts_its_lookups) {
  for (int i = 0; i < 10; ++i) remote_->put(std::string(1, static_cast<char>('a' + i)), "x");
  machine_.start();
  std::vector<std::string> names;
  std::vector<InodeNumber> inodes;
  std::string after;
  for (int call = 0; call < 20; ++call) {
    int room = 3;
    const auto listed =
        machine_.layer().list(kRoot, after, true, [&](const NamedAttributes& entry) {
          names.push_back(entry.name);
          inodes.push_back(entry.attributes.inode);
          return --room > 0;
        });
    ASSERT_TRUE(listed);
    after = names.back();
  }
  EXPECT_EQ(names.size(), 10U);
  for (const InodeNumber inode : inodes) {
    EXPECT_EQ(error_of(machine_.layer().attributes(inode)), 0);
    machine_.layer().forget(inode, 1);
    EXPECT_EQ(error_of(machine_.layer().attributes(inode)), ESTALE);
  }
}

TEST_F(LayerReadTest, memory_of_read_ahead_is_bounded_over_all_handles) {
  machine_.options.max_read_ahead_bytes = 64 << 10;
  const std::string text = text_of(200'000);
  std::vector<Handle> handles;
  for (int i = 0; i < 50; ++i) remote_->put("f" + std::to_string(i), text);
  machine_.start();
  for (int i = 0; i < 50; ++i) {
    const auto handle = machine_.open("f" + std::to_string(i), O_RDONLY);
    ASSERT_TRUE(handle);
    handles.push_back(*handle);
  }
  for (uint64_t offset = 0; offset < text.size(); offset += 10'000) {
    for (const Handle handle : handles) {
      ASSERT_EQ(machine_.read(handle, offset, 10'000), text.substr(offset, 10'000));
    }
  }
  for (const Handle handle : handles) machine_.close(handle);
}

TEST_F(LayerReadTest, a_second_layer_on_the_same_directory_is_refused) {
  machine_.start();
  FileLayerOptions options = machine_.options;
  Machine other(remote_);
  other.options.directory = options.directory;
  const auto second = other.try_start();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kInvalidInput);
}

TEST_F(LayerReadTest, an_object_that_is_replaced_while_it_is_open_is_never_mixed) {
  remote_->put("f", text_of(100'000));
  machine_.start();
  const auto handle = machine_.open("f", O_RDONLY);
  ASSERT_TRUE(handle);
  EXPECT_EQ(machine_.read(*handle, 0, 100), text_of(100'000).substr(0, 100));
  remote_->put("f", std::string(100'000, 'z'));
  EXPECT_EQ(error_of(machine_.read(*handle, 90'000, 100)), ESTALE);
  machine_.close(*handle);
  machine_.age();
  EXPECT_EQ(machine_.read("f"), std::string(100'000, 'z'));
}

}  // namespace
}  // namespace atl::fs
