#include "storage/namespace/namespace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <barrier>
#include <fstream>
#include <thread>

#include "storage/namespace/names_fixture.h"
#include "storage/namespace/page_apply.h"

namespace atl::storage {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class NamespaceTest : public NamesFixture {};

TEST_F(NamespaceTest, a_key_is_found_by_one_listing_that_makes_its_successors_known) {
  put_many("train/", 3000);
  auto names = open();
  const auto found = names->lookup("train/001500.jpg");
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->key, "train/001500.jpg");
  EXPECT_EQ(found->size_bytes, 1U);
  EXPECT_EQ(remote_->counts().lists, 1U);
  for (int i = 1500; i < 2499; ++i) {
    EXPECT_TRUE(names->lookup("train/00" + std::to_string(i) + ".jpg"));
  }
  EXPECT_EQ(error_of(names->lookup("train/001700.png")), ErrorCode::kNotFound);
  EXPECT_EQ(remote_->counts().lists, 1U);
}

TEST_F(NamespaceTest, a_missing_key_is_asked_for_once) {
  put_many("a/", 3);
  auto names = open();
  EXPECT_EQ(error_of(names->lookup("b")), ErrorCode::kNotFound);
  EXPECT_EQ(error_of(names->lookup("b")), ErrorCode::kNotFound);
  EXPECT_EQ(error_of(names->lookup("c/d")), ErrorCode::kNotFound);
  EXPECT_EQ(remote_->counts().lists, 1U);
}

TEST_F(NamespaceTest, what_is_older_than_max_age_is_asked_for_again) {
  remote_->put("a", "1");
  auto names = open();
  ASSERT_TRUE(names->lookup("a"));
  remote_->put("a", "22");
  pass(seconds(60));
  EXPECT_EQ(names->lookup("a")->size_bytes, 1U);
  pass(seconds(1));
  EXPECT_EQ(names->lookup("a")->size_bytes, 2U);
  remote_->erase("a");
  pass(seconds(61));
  EXPECT_EQ(error_of(names->lookup("a")), ErrorCode::kNotFound);
  EXPECT_EQ(remote_->counts().lists, 3U);
}

TEST_F(NamespaceTest, an_import_takes_one_request_for_a_thousand_keys) {
  put_many("train/", 25'000);
  put_many("val/", 5'000);
  auto names = open();
  EXPECT_FALSE(names->imported_at());
  const auto counts = import_all(*names);
  EXPECT_EQ(counts.listed, 30'000U);
  EXPECT_EQ(counts.created, 30'000U);
  EXPECT_LE(counts.requests, 40U);  // listings that meet, and guesses where to begin them
  EXPECT_EQ(remote_->counts().lists, counts.requests);
  EXPECT_TRUE(names->imported_at());

  EXPECT_EQ(names_in(*names, "").size(), 2U);
  EXPECT_EQ(names_in(*names, "train").size(), 25'000U);
  EXPECT_EQ(keys_of(*names, "").size(), 30'000U);
  EXPECT_EQ(remote_->counts().lists, counts.requests);

  const auto again = import_all(*names);
  EXPECT_EQ(again.listed, 30'000U);
  EXPECT_EQ(again.created + again.changed + again.deleted, 0U);
  EXPECT_LE(again.requests, 40U);
}

// Bytes that no XML can name lie behind the last key that a listing can begin after: so whoever goes on behind their
// directory gets them once more, whole pages of them here.
TEST_F(NamespaceTest, a_page_reaches_past_its_beginning_behind_keys_that_are_no_text) {
  remote_->set_page_keys(1);
  for (const char* key : {"a/\xffx", "a/\xffy", "b/0"}) remote_->put(key, "x");
  const auto page = list_from(*remote_, "", "a0", 0);
  ASSERT_TRUE(page);
  EXPECT_GT(page->past, "a0");
  ASSERT_EQ(page->objects.size(), 1U);
  EXPECT_EQ(page->objects[0].key, "b/0");
}

TEST_F(NamespaceTest, an_import_finds_new_changed_and_deleted_objects) {
  put_many("a/", 2500);
  auto names = open();
  import_all(*names);
  remote_->put("a/000001.jpg", "other");
  remote_->erase("a/000002.jpg");
  remote_->erase("a/002499.jpg");
  remote_->put("a/b/c", "new");
  remote_->put("z", "new");
  pass(seconds(1));
  const auto counts = import_all(*names);
  EXPECT_EQ(counts.created, 2U);
  EXPECT_EQ(counts.changed, 1U);
  EXPECT_EQ(counts.deleted, 2U);
  EXPECT_EQ(names->lookup("a/000001.jpg")->size_bytes, 5U);
  EXPECT_EQ(error_of(names->lookup("a/002499.jpg")), ErrorCode::kNotFound);
  EXPECT_THAT(names_in(*names, "a/b"), ElementsAre("c"));
}

TEST_F(NamespaceTest, the_policy_says_which_differences_are_taken_over) {
  remote_->put("changed", "1");
  remote_->put("deleted", "1");
  auto names = open();
  import_all(*names, {.new_objects = false, .changed_objects = false, .deleted_objects = false});
  EXPECT_THAT(names_in(*names, ""),
              ElementsAre("changed", "deleted"));  // nothing was listed before
  remote_->put("changed", "22");
  remote_->erase("deleted");
  remote_->put("new", "1");
  pass(seconds(1));
  import_all(*names, {.new_objects = false, .changed_objects = false, .deleted_objects = false});
  EXPECT_THAT(names_in(*names, ""), ElementsAre("changed", "deleted"));
  EXPECT_EQ(names->lookup("changed")->size_bytes, 1U);
  import_all(*names, {.new_objects = false, .changed_objects = true, .deleted_objects = false});
  EXPECT_EQ(names->lookup("changed")->size_bytes, 2U);
  EXPECT_THAT(names_in(*names, ""), ElementsAre("changed", "deleted"));
  import_all(*names, {.new_objects = true, .changed_objects = true, .deleted_objects = false});
  EXPECT_THAT(names_in(*names, ""), ElementsAre("changed", "deleted", "new"));
  import_all(*names);
  EXPECT_THAT(names_in(*names, ""), ElementsAre("changed", "new"));
}

TEST_F(NamespaceTest, a_failing_import_deletes_nothing_that_it_has_not_listed) {
  put_many("a/", 5000);
  auto names = open();
  import_all(*names);
  for (int i = 3000; i < 5000; ++i) remote_->erase("a/00" + std::to_string(i) + ".jpg");
  remote_->put("a/0", "new");
  std::atomic<int> lists = 0;  // several are under way
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call.starts_with("list") && ++lists == 3) return Error{ErrorCode::kIo, "broken", {}, {}};
    return std::nullopt;
  });
  const auto failed = names->import({}, {}, {}, {});
  EXPECT_EQ(error_of(failed), ErrorCode::kIo);
  remote_->set_fault({});
  EXPECT_EQ(names_in(*names, "a").size(), 5001U);
  EXPECT_EQ(import_all(*names).deleted, 2000U);
}

TEST_F(NamespaceTest, a_directory_that_is_not_imported_is_listed_past_large_subdirectories) {
  put_many("a/big/", 20'000);
  put_many("a/bigger/", 30'000);
  remote_->put("a/file", "x");
  auto names = open();
  EXPECT_THAT(names_in(*names, "a"), ElementsAre("big/", "bigger/", "file"));
  EXPECT_LE(remote_->counts().lists, 7U);
  EXPECT_THAT(names_in(*names, "a"), ElementsAre("big/", "bigger/", "file"));
  EXPECT_LE(remote_->counts().lists, 7U);
  EXPECT_EQ(names_in(*names, "a/bigger").size(), 30'000U);
  EXPECT_LE(remote_->counts().lists, 7U + 28U);
}

TEST_F(NamespaceTest, directory_after_directory_takes_one_request_for_a_thousand_keys) {
  for (int i = 0; i < 20; ++i) put_many("a/" + std::to_string(i) + "/", 700);
  auto names = open();
  for (const auto& name : names_in(*names, "a")) {
    EXPECT_EQ(names_in(*names, "a/" + name.substr(0, name.size() - 1)).size(), 700U);
  }
  EXPECT_EQ(remote_->counts().lists, 14U);
}

TEST_F(NamespaceTest, a_path_costs_no_request_for_each_component) {
  put_many("a/b/c/d/", 500);
  auto names = open();
  for (const char* path : {"a", "a/b", "a/b/c", "a/b/c/d"}) {
    const auto entry = names->lookup_path(path);
    ASSERT_TRUE(entry) << entry.error().to_string();
    EXPECT_TRUE(entry->is_directory);
    EXPECT_FALSE(entry->has_object);
  }
  const auto file = names->lookup_path("a/b/c/d/000100.jpg");
  ASSERT_TRUE(file);
  EXPECT_FALSE(file->is_directory);
  EXPECT_EQ(file->info.key, "a/b/c/d/000100.jpg");
  EXPECT_EQ(remote_->counts().lists, 1U);
}

TEST_F(NamespaceTest, directories_win_over_objects_of_their_name_and_carry_their_own) {
  remote_->put("a", "hidden");
  remote_->put("a/b", "x");
  remote_->put("a-b", "x");
  remote_->put("dir/", "", {{"file-permissions", "0040700"}});
  auto names = open();
  EXPECT_TRUE(names->lookup_path("a")->is_directory);
  EXPECT_THAT(names_in(*names, ""), ElementsAre("a/", "a-b", "dir/"));
  EXPECT_EQ(names->hidden_keys(), 1U);
  EXPECT_TRUE(names->lookup("a"));
  EXPECT_EQ(names->lookup_path("dir")->info.key, "dir/");
  EXPECT_FALSE(names->lookup_path("dir")->metadata);
  EXPECT_EQ(names->stat("dir/")->metadata.at("file-permissions"), "0040700");
  EXPECT_EQ(names->lookup_path("dir")->metadata->at("file-permissions"), "0040700");
  EXPECT_THAT(names_in(*names, "dir"), IsEmpty());
  remote_->erase("a/b");
  pass(seconds(61));
  EXPECT_THAT(names_in(*names, ""), ElementsAre("a", "a-b", "dir/"));
  EXPECT_EQ(names->hidden_keys(), 0U);
}

TEST_F(NamespaceTest, keys_that_no_directory_can_show_are_hidden_and_counted) {
  using namespace std::string_literals;
  const std::vector<std::string> hidden = {"../escape",
                                           "a/../b",
                                           "a//b",
                                           "/absolute",
                                           "//",
                                           "a/./b",
                                           "nul\0byte"s,
                                           std::string(256, 'x'),
                                           ".atoll-tmp-1",
                                           "d//"};
  for (const auto& key : hidden) remote_->put(key, "x");
  remote_->put("new\nline", "x");
  remote_->put("bad\xff utf-8", "x");
  remote_->put(std::string(255, 'y') + "/" + std::string(255, 'z'), "x");
  auto names = open();
  import_all(*names);
  EXPECT_EQ(names->hidden_keys(), hidden.size());
  EXPECT_THAT(names_in(*names, ""),
              ElementsAre("a/", "bad\xff utf-8", "d/", "new\nline", std::string(255, 'y') + "/"));
  EXPECT_THAT(names_in(*names, "a"), IsEmpty());
  for (const auto& key : hidden) {
    EXPECT_TRUE(names->lookup(key)) << key;
    EXPECT_FALSE(names->lookup_path(key));
    remote_->erase(key);
  }
  pass(seconds(1));
  import_all(*names);
  EXPECT_EQ(names->hidden_keys(), 0U);
}

TEST_F(NamespaceTest, metadata_takes_one_head_for_each_version) {
  remote_->put("a", "1", {{"x", "1"}});
  auto names = open();
  EXPECT_EQ(names->stat("a")->metadata.at("x"), "1");
  EXPECT_EQ(names->stat("a")->metadata.at("x"), "1");
  EXPECT_EQ(remote_->counts().stats, 1U);
  EXPECT_EQ(remote_->counts().lists, 0U);
  pass(seconds(61));
  EXPECT_EQ(names->stat("a")->metadata.at("x"), "1");  // the listing says: still this version
  EXPECT_EQ(remote_->counts().stats, 1U);
  remote_->put("a", "1", {{"x", "2"}});
  pass(seconds(61));
  EXPECT_EQ(names->stat("a")->metadata.at("x"), "2");
  EXPECT_EQ(remote_->counts().stats, 2U);
  EXPECT_EQ(error_of(names->stat("b")), ErrorCode::kNotFound);
}

TEST_F(NamespaceTest, what_we_did_ourselves_is_known_at_once) {
  put_many("a/", 10);
  auto names = open();
  import_all(*names);
  const auto lists = remote_->counts().lists;
  ObjectInfo info{"new/dir/file", 5, {}, "\"e\""};
  const Metadata metadata{{"m", "1"}};
  ASSERT_TRUE(names->record(info, &metadata));
  EXPECT_EQ(names->stat("new/dir/file")->metadata, metadata);
  EXPECT_THAT(names_in(*names, "new"), ElementsAre("dir/"));
  ASSERT_TRUE(names->forget("new/dir/file"));
  EXPECT_EQ(error_of(names->lookup_path("new")), ErrorCode::kNotFound);
  ASSERT_TRUE(names->forget("a/000000.jpg"));
  EXPECT_EQ(names_in(*names, "a").size(), 9U);
  EXPECT_EQ(remote_->counts().lists, lists);
  EXPECT_EQ(remote_->counts().stats, 0U);
}

TEST_F(NamespaceTest, a_listing_does_not_undo_what_was_done_while_it_was_under_way) {
  put_many("a/", 10);
  auto names = open();
  import_all(*names);
  pass(seconds(61));
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call.starts_with("list")) {  // asked, not answered yet; the bucket will not show these
      const ObjectInfo info{"a/new", 5, {}, "\"e\""};
      EXPECT_TRUE(names->record(info, nullptr));
      EXPECT_TRUE(names->forget("a/000003.jpg"));
    }
    return std::nullopt;
  });
  import_all(*names);
  remote_->set_fault({});
  EXPECT_EQ(names->lookup("a/new")->size_bytes, 5U);
  EXPECT_EQ(error_of(names->lookup("a/000003.jpg")), ErrorCode::kNotFound);
}

TEST_F(NamespaceTest, before_an_import_in_the_background_a_key_is_asked_for_by_itself) {
  put_many("a/", 10);
  NamespaceOptions later = options();
  later.head_start = std::chrono::hours(1);
  const auto names = Namespace::open(remote_, later).value();
  names->import_in_background();
  EXPECT_EQ(names->lookup("a/000003.jpg")->size_bytes, 1U);
  EXPECT_EQ(names->lookup("a/000003.jpg")->size_bytes, 1U);
  EXPECT_EQ(remote_->counts().stats, 1U);
  EXPECT_EQ(remote_->counts().lists, 0U);
  EXPECT_EQ(error_of(names->lookup("a/none")), ErrorCode::kNotFound);
  EXPECT_EQ(error_of(names->lookup("a/none")), ErrorCode::kNotFound);
  EXPECT_EQ(remote_->counts().stats, 2U);
  EXPECT_EQ(remote_->counts().lists, 1U);  // whether there is a bucket
}

TEST_F(NamespaceTest, an_import_in_the_background_comes_to_its_end) {
  put_many("a/", 10);
  NamespaceOptions at_once = options();
  at_once.head_start = std::chrono::milliseconds(0);
  const auto names = Namespace::open(remote_, at_once).value();
  names->import_in_background();
  while (!names->imported_at()) std::this_thread::yield();
  EXPECT_EQ(keys_of(*names, "").size(), 10U);
  EXPECT_EQ(remote_->counts().lists, 1U);
}

TEST_F(NamespaceTest, children_go_on_behind_a_name_in_byte_order) {
  for (const char* key : {"d/a/1", "d/a-b/1", "d/a.txt", "d/b", "d/a/2", "d/aa"}) {
    remote_->put(key, "x");
  }
  auto names = open();
  EXPECT_THAT(names_in(*names, "d"), ElementsAre("a/", "a-b/", "a.txt", "aa", "b"));
  EXPECT_THAT(names_in(*names, "d", "a"), ElementsAre("a-b/", "a.txt", "aa", "b"));
  EXPECT_THAT(names_in(*names, "d", "a-b"), ElementsAre("a.txt", "aa", "b"));
  EXPECT_THAT(names_in(*names, "d", "b"), IsEmpty());
  EXPECT_THAT(keys_of(*names, "d/a"), ElementsAre("d/a-b/1", "d/a.txt", "d/a/1", "d/a/2", "d/aa"));
}

TEST_F(NamespaceTest, the_database_is_private_and_outlives_its_process) {
  put_many("a/", 10);
  import_all(*open());
  auto names = open();
  EXPECT_TRUE(names->imported_at());
  EXPECT_EQ(names_in(*names, "a").size(), 10U);
  EXPECT_EQ(remote_->counts().lists, 1U);
  struct stat status {};
  ASSERT_EQ(::stat((directory_ + "/names").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  for (const auto& file : std::filesystem::directory_iterator(directory_ + "/names")) {
    ASSERT_EQ(::stat(file.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U) << file.path();
  }
}

TEST_F(NamespaceTest, a_damaged_database_is_made_anew_with_a_message) {
  put_many("a/", 5000);
  import_all(*open());
  std::string path;
  for (const auto& file : std::filesystem::directory_iterator(directory_ + "/names")) {
    if (file.path().extension() == ".db") path = file.path();
  }
  const auto size = std::filesystem::file_size(path);
  for (const uint64_t at : {uint64_t{0}, uint64_t{4096 + 8}, size / 2}) {
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(at));
      file << std::string(8192, '\xa5');
    }
    const auto before = log().size();
    auto names = open();
    pass(seconds(61));
    EXPECT_EQ(import_all(*names).listed, 5000U);
    EXPECT_EQ(names_in(*names, "a").size(), 5000U) << at;
    ASSERT_EQ(log().size(), before + 1) << at;
    EXPECT_THAT(log().back(), HasSubstr("listed anew"));
  }
}

TEST_F(NamespaceTest, many_may_open_a_new_one_at_once) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    std::filesystem::remove_all(directory_ + "/names");
    std::barrier together(kThreads);
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        together.arrive_and_wait();
        open();  // says why, where it cannot
      });
    }
  }
}

TEST_F(NamespaceTest, who_still_has_a_replaced_database_takes_nothing_from_the_new_one) {
  put_many("a/", 5000);
  auto old = open();
  import_all(*old);
  for (const auto& file : std::filesystem::directory_iterator(directory_ + "/names")) {
    if (file.path().string().find(".db") != std::string::npos) std::filesystem::remove(file);
  }
  auto names = open();
  import_all(*names);
  const auto lists = remote_->counts().lists;
  old.reset();
  EXPECT_EQ(names_in(*open(), "a").size(), 5000U);
  EXPECT_EQ(names_in(*names, "a").size(), 5000U);
  EXPECT_EQ(remote_->counts().lists, lists);
}

}  // namespace
}  // namespace atl::storage
