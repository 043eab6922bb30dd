// How what is changed here comes into the bucket.
#include <gmock/gmock.h>
#include <linux/fs.h>

#include <future>
#include <thread>

#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class LayerExportTest : public testing::Test {
 protected:
  LayerExportTest() : remote_(std::make_shared<storage::FakeRemote>()), machine_(remote_) {
    remote_->put("a", "alpha", {{"mine", "kept"}});
    remote_->put("d/b", "beta");
    remote_->put("d/e/c", "gamma");
    machine_.options.exports = ExportPolicy::kOnDemand;
  }
  std::string metadata(const std::string& key, const std::string& name) {
    const auto all = remote_->metadata(key);
    const auto found = all.find(name);
    return found == all.end() ? "" : found->second;
  }
  std::shared_ptr<storage::FakeRemote> remote_;
  Machine machine_;
};

TEST_F(LayerExportTest, a_closed_file_is_uploaded_with_fsx_metadata) {
  machine_.options.exports = ExportPolicy::kOnClose;
  machine_.start();
  ASSERT_EQ(machine_.write("new", "content"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("new"), "content");
  EXPECT_EQ(metadata("new", "file-permissions"), "0100644");
  EXPECT_EQ(metadata("new", "file-owner"), "1");
  EXPECT_EQ(metadata("new", "file-group"), "2");
  EXPECT_TRUE(metadata("new", "file-mtime").ends_with("ns"));
  EXPECT_EQ(machine_.read("new"), "content");
  EXPECT_EQ(remote_->counts().bytes_read, 0U);  // the local content is kept
}

TEST_F(LayerExportTest, a_file_that_is_open_for_writing_is_exported_when_it_is_closed) {
  machine_.options.exports = ExportPolicy::kOnClose;
  machine_.start();
  const auto handle = machine_.open("new", O_WRONLY | O_CREAT);
  ASSERT_TRUE(handle);
  const std::string text = "text";
  ASSERT_TRUE(machine_.layer().write(*handle, 0, std::as_bytes(std::span(text))));
  ASSERT_EQ(error_of(machine_.layer().flush(*handle)), 0);
  EXPECT_EQ(remote_->content("new"), std::nullopt);
  machine_.close(*handle);
  machine_.settle();
  EXPECT_EQ(remote_->content("new"), "text");
}

TEST_F(LayerExportTest,
       changed_attributes_are_a_copy_inside_the_bucket_that_keeps_foreign_metadata) {
  machine_.start();
  ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600, .uid = 9}), 0);
  machine_.settle();
  EXPECT_EQ(remote_->counts().copies, 1U);
  EXPECT_EQ(remote_->counts().uploads, 0U);
  EXPECT_EQ(remote_->content("a"), "alpha");
  EXPECT_EQ(metadata("a", "mine"), "kept");
  EXPECT_EQ(metadata("a", "file-permissions"), "0100600");
  EXPECT_EQ(metadata("a", "file-owner"), "9");
  EXPECT_EQ(machine_.look("a")->uid, 9U);
}

TEST_F(LayerExportTest, a_file_written_in_the_middle_keeps_the_rest) {
  remote_->put("big", std::string(50'000, 'x'), {{"mine", "too"}});
  machine_.start();
  ASSERT_EQ(machine_.write_at("big", 20'000, "HERE"), 0);
  machine_.settle();
  std::string expected(50'000, 'x');
  expected.replace(20'000, 4, "HERE");
  EXPECT_EQ(remote_->content("big"), expected);
  EXPECT_EQ(metadata("big", "mine"), "too");
  EXPECT_EQ(machine_.read("big"), expected);
}

TEST_F(LayerExportTest, removals_go_by_one_request_and_the_directory_stays) {
  for (int i = 0; i < 300; ++i) remote_->put("many/" + std::to_string(i), "x");
  machine_.start();
  for (int i = 0; i < 300; ++i) ASSERT_EQ(machine_.unlink("many/" + std::to_string(i)), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("many/7"), std::nullopt);
  EXPECT_NE(remote_->content("many/"), std::nullopt);
  EXPECT_THAT(machine_.list(""), Contains("many"));
  EXPECT_LE(remote_->counts().stats, 10U);
}

TEST_F(LayerExportTest, a_renamed_file_is_copied_and_removed_and_nothing_is_downloaded) {
  machine_.start();
  ASSERT_EQ(machine_.rename("a", "z"), 0);
  ASSERT_EQ(machine_.write("a", "new a"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("z"), "alpha");
  EXPECT_EQ(remote_->content("a"), "new a");
  EXPECT_EQ(metadata("z", "mine"), "kept");
  EXPECT_EQ(remote_->counts().bytes_read, 0U);
}

TEST_F(LayerExportTest, a_renamed_directory_rewrites_every_descendant) {
  machine_.start();
  ASSERT_EQ(machine_.rename("d", "m"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("m/b"), "beta");
  EXPECT_EQ(remote_->content("m/e/c"), "gamma");
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  EXPECT_EQ(remote_->content("d/e/c"), std::nullopt);
  EXPECT_THAT(machine_.list(""), ElementsAre("a", "m"));
  EXPECT_EQ(remote_->counts().bytes_read, 0U);
  // What others put there afterwards is seen: nothing hides the place any more.
  remote_->put("d/later", "x");
  remote_->put("m/later", "y");
  machine_.age();
  EXPECT_EQ(machine_.read("d/later"), "x");
  EXPECT_EQ(machine_.read("m/later"), "y");
}

TEST_F(LayerExportTest, files_that_have_changed_places_are_exported_without_losing_either) {
  machine_.start();
  ASSERT_EQ(machine_.rename("a", "d/b", RENAME_EXCHANGE), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("a"), "beta");
  EXPECT_EQ(remote_->content("d/b"), "alpha");
  EXPECT_EQ(machine_.read("a"), "beta");
  EXPECT_EQ(machine_.read("d/b"), "alpha");
}

// An entry's number is made from its path; that of another one, which came from there, may be the same.
TEST_F(LayerExportTest, what_has_changed_places_is_told_apart_after_a_new_start) {
  machine_.start();
  ASSERT_EQ(machine_.rename("a", "d", RENAME_EXCHANGE), 0);
  ASSERT_EQ(machine_.write("a/here", "content"), 0);
  machine_.settle();
  machine_.stop();
  machine_.start();
  ASSERT_EQ(machine_.read("a/here"), "content");
  ASSERT_EQ(machine_.unlink("d"), 0);
  EXPECT_EQ(machine_.read("a/b"), "beta");
  EXPECT_THAT(machine_.list("a"), ElementsAre("b", "e", "here"));
}

TEST_F(LayerExportTest, an_unlinked_file_that_is_open_keeps_its_bytes_when_the_object_goes) {
  remote_->put("big", std::string(100'000, 'x'));
  machine_.start();
  const auto handle = machine_.open("big", O_RDONLY);
  ASSERT_TRUE(handle);
  ASSERT_EQ(machine_.unlink("big"), 0);
  machine_.settle();
  EXPECT_EQ(remote_->content("big"), std::nullopt);
  EXPECT_EQ(machine_.read(*handle, 90'000, 5), "xxxxx");
  machine_.close(*handle);
}

TEST_F(LayerExportTest, a_failed_export_is_tried_again_until_it_works) {
  machine_.options.exports = ExportPolicy::kOnClose;
  std::atomic<int> failures = 2;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("upload ") || failures-- <= 0) return std::nullopt;
    return Error{ErrorCode::kIo, "503", {}, {}};
  });
  machine_.start();
  ASSERT_EQ(machine_.write("new", "content"), 0);
  while (machine_.layer().counts().waiting_exports > 0) std::this_thread::yield();
  EXPECT_EQ(remote_->content("new"), "content");
  EXPECT_EQ(machine_.layer().counts().failed_exports, 2U);
  EXPECT_THAT(machine_.log(), Contains(HasSubstr("503")));
}

TEST_F(LayerExportTest, an_export_waits_for_one_that_is_at_the_same_file_however_long_it_takes) {
  machine_.options.exports = ExportPolicy::kOnClose;
  std::promise<void> begun;
  std::promise<void> go_on;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call != "upload large") return std::nullopt;
    begun.set_value();
    go_on.get_future().wait();
    return std::nullopt;
  });
  machine_.start();
  ASSERT_EQ(machine_.write("large", "content"), 0);
  begun.get_future().wait();
  auto exported = std::async(std::launch::async, [&] {
    return machine_.layer().export_now("large", {}, nullptr).has_value();
  });
  // What others get done meanwhile is no reason to give up.
  for (uint32_t i = 0; i < 150; ++i) {
    ASSERT_EQ(machine_.set_attributes("a", {.permissions = 0600 + i % 8}), 0);
    while (machine_.layer().counts().waiting_exports > 1) std::this_thread::yield();
  }
  go_on.set_value();
  EXPECT_TRUE(exported.get());
  EXPECT_EQ(remote_->content("large"), "content");
}

TEST_F(LayerExportTest, fsync_waits_for_the_bucket_where_that_is_asked_for) {
  machine_.options.fsync_to_bucket = true;
  machine_.start();
  const auto handle = machine_.open("new", O_WRONLY | O_CREAT);
  ASSERT_TRUE(handle);
  const std::string text = "text";
  ASSERT_TRUE(machine_.layer().write(*handle, 0, std::as_bytes(std::span(text))));
  ASSERT_EQ(error_of(machine_.layer().fsync(*handle)), 0);
  EXPECT_EQ(remote_->content("new"), "text");
  ASSERT_TRUE(machine_.layer().write(*handle, 4, std::as_bytes(std::span(text))));
  ASSERT_EQ(error_of(machine_.layer().fsync(*handle)), 0);
  EXPECT_EQ(remote_->content("new"), "texttext");
  machine_.close(*handle);
}

TEST_F(LayerExportTest, states_follow_a_file_from_dirty_to_released) {
  machine_.start();
  const auto state = [&](const std::string& path) {
    FileState found;
    EXPECT_TRUE(machine_.layer().states(path, false, [&](const FileState& at) {
      found = at;
      return true;
    }));
    return found;
  };
  EXPECT_TRUE(state("a").released);
  EXPECT_TRUE(state("a").archived);
  ASSERT_TRUE(machine_.read("a"));
  EXPECT_FALSE(state("a").released);
  EXPECT_EQ(state("a").cached_bytes, 5U);
  ASSERT_EQ(machine_.write("a", "changed"), 0);
  EXPECT_TRUE(state("a").dirty);
  EXPECT_TRUE(state("a").exists);
  EXPECT_FALSE(state("a").archived);
  ASSERT_EQ(machine_.write("n", "new"), 0);
  EXPECT_FALSE(state("n").exists);
  const auto none = machine_.layer().release("", std::chrono::seconds(0), nullptr);
  ASSERT_TRUE(none);
  EXPECT_EQ(machine_.read("a"), "changed");  // what is dirty is not released
  machine_.settle();
  EXPECT_TRUE(state("a").archived);
  EXPECT_EQ(state("a").cached_bytes, 7U);
  EXPECT_EQ(machine_.layer().release("a", std::chrono::hours(1), nullptr)->files, 0U);
  const auto released = machine_.layer().release("", std::chrono::seconds(-1), nullptr);
  ASSERT_TRUE(released);
  EXPECT_TRUE(state("a").released);
  EXPECT_EQ(machine_.read("a"), "changed");
}

TEST_F(LayerExportTest, preload_fetches_what_a_pattern_names) {
  remote_->put("p/1.jpg", std::string(50'000, '1'));
  remote_->put("p/2.jpg", std::string(50'000, '2'));
  remote_->put("p/3.txt", std::string(50'000, '3'));
  machine_.start();
  Progress last;
  const auto loaded =
      machine_.layer().preload("p", "*.jpg", {}, [&](const Progress& at) { last = at; });
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->files, 2U);
  EXPECT_EQ(loaded->bytes, 100'000U);
  EXPECT_EQ(last.files, 2U);
  const uint64_t fetched = remote_->counts().bytes_read;
  EXPECT_EQ(fetched, 100'000U);
  EXPECT_EQ(machine_.read("p/2.jpg"), std::string(50'000, '2'));
  EXPECT_EQ(remote_->counts().bytes_read, fetched);
}

TEST_F(LayerExportTest, a_preload_that_fails_ends) {
  remote_->put("p/big", std::string(1'000'000, 'x'));  // more than is under way at a time
  machine_.start();
  remote_->set_fault([](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("read")) return std::nullopt;
    return Error{ErrorCode::kIo, "the server is away", {}, {}};
  });
  auto done = std::async(std::launch::async,
                         [&] { return machine_.layer().preload("p", "", {}, nullptr); });
  if (done.wait_for(std::chrono::minutes(1)) != std::future_status::ready) std::abort();
  EXPECT_FALSE(done.get());
}

TEST_F(LayerExportTest, a_removal_that_cannot_be_holds_up_no_other) {
  machine_.options.exports = ExportPolicy::kOnClose;
  machine_.start();
  const auto open = machine_.open("a", O_RDONLY);
  ASSERT_TRUE(open);
  remote_->set_fault([](std::string_view call) -> std::optional<Error> {
    if (call != "read a") return std::nullopt;
    return Error{ErrorCode::kIo, "the server is away", {}, {}};
  });
  ASSERT_EQ(machine_.unlink("a"), 0);
  ASSERT_EQ(machine_.unlink("d/b"), 0);
  const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (remote_->content("d/b") && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(remote_->content("d/b"), std::nullopt);
  EXPECT_EQ(remote_->content("a"), "alpha");
  remote_->set_fault(nullptr);
  machine_.settle();
  EXPECT_EQ(remote_->content("a"), std::nullopt);
  EXPECT_EQ(machine_.read(*open, 0, 10), "alpha");
  machine_.close(*open);
}

TEST_F(LayerExportTest, a_pattern_with_a_slash_is_for_paths_below_what_is_preloaded) {
  for (const char* key : {"p/q/1.jpg", "p/q/r/2.jpg", "q/3.jpg", "p/4.jpg"}) {
    remote_->put(key, std::string(1'000, 'x'));
  }
  machine_.start();
  const auto files = [&](std::string_view path, std::string_view pattern) {
    const auto loaded = machine_.layer().preload(path, pattern, {}, nullptr);
    EXPECT_TRUE(loaded) << loaded.error().to_string();
    return loaded ? loaded->files : 0;
  };
  EXPECT_EQ(files("p", "q/*.jpg"), 1U);
  EXPECT_EQ(files("/p/", "q/*.jpg"), 1U);
  EXPECT_EQ(files("p", "q/*/*.jpg"), 1U);
  EXPECT_EQ(files("", "q/*.jpg"), 1U);
  EXPECT_EQ(files("", "p/q/*.jpg"), 1U);
  EXPECT_EQ(files("", "*.jpg"), 4U);
}

TEST_F(LayerExportTest, what_the_policy_leaves_out_shows_when_an_import_is_asked_for) {
  machine_.options.imports = {
      .new_objects = false, .changed_objects = false, .deleted_objects = false};
  remote_->put("gone", "1");
  machine_.start();
  ASSERT_TRUE(machine_.look("a"));
  const auto before = machine_.list("");
  remote_->put("a", "another and longer");
  remote_->put("new", "1");
  remote_->erase("gone");
  machine_.age();
  EXPECT_EQ(machine_.list(""), before);
  EXPECT_NE(machine_.look("a")->size_bytes, 18U);
  EXPECT_EQ(error_of(machine_.look("new")), ENOENT);
  EXPECT_TRUE(machine_.look("gone"));
  ASSERT_TRUE(machine_.layer().import_now("", {}));
  EXPECT_EQ(machine_.read("a"), "another and longer");
  EXPECT_TRUE(machine_.look("new"));
  EXPECT_EQ(error_of(machine_.look("gone")), ENOENT);
}

TEST_F(LayerExportTest, imports_come_again_by_interval) {
  machine_.options.import_interval = std::chrono::seconds(1);
  machine_.start();
  for (const char* name : {"first", "second"}) {
    EXPECT_EQ(error_of(machine_.look(name)), ENOENT);
    remote_->put(name, "1");
    // What is known is believed for a minute; only an import shows it sooner.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!machine_.look(name) && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(machine_.look(name)) << name;
  }
}

TEST_F(LayerExportTest, an_import_tells_what_has_changed) {
  machine_.start();
  const InodeNumber inode = machine_.look("a")->inode;
  std::mutex mutex;
  std::condition_variable came;
  std::vector<FileLayer::Change> changes;
  machine_.layer().on_change([&](const FileLayer::Change& change) {
    const std::lock_guard lock(mutex);
    changes.push_back(change);
    came.notify_all();
  });
  remote_->put("a", "another");
  // The import at the start may share its result, which is of before.
  for (bool told = false; !told;) {
    ASSERT_TRUE(machine_.layer().import_now("", {}));
    std::unique_lock lock(mutex);
    told = came.wait_for(lock, std::chrono::milliseconds(50), [&] { return !changes.empty(); });
  }
  {
    const std::lock_guard lock(mutex);
    EXPECT_EQ(changes[0].inode, inode);
    EXPECT_EQ(changes[0].name, "a");
  }
  machine_.layer().on_change(nullptr);
  EXPECT_EQ(machine_.read("a"), "another");
}

}  // namespace
}  // namespace atl::fs
