// What every store promises, held against the directory and the fake alike; then opening by path.
#include "storage/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "storage/fake_store.h"
#include "storage/local_store.h"

namespace atl::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "atoll-storage-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

class AnyStore : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "local") {
      store_ = std::make_unique<LocalStore>(directory_.path() + "/not/yet/there");
    } else {
      store_ = std::make_unique<FakeStore>();
    }
  }
  void put(std::string_view key, std::string_view text) {
    const auto result = put_text(*store_, key, text);
    ASSERT_TRUE(result) << result.error().to_string();
  }
  std::string text(std::string_view key) { return std::string(store_->get(key).value().text()); }
  std::vector<std::string> keys(std::string_view prefix) {
    std::vector<std::string> keys;
    const auto result = store_->list(prefix, [&](const ObjectInfo& info) {
      keys.push_back(info.key);
      return true;
    });
    EXPECT_TRUE(result) << result.error().to_string();
    return keys;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<ObjectStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Storage,
                         AnyStore,
                         ::testing::Values("local", "fake"),
                         [](const auto& info) { return info.param; });

TEST_P(AnyStore, gives_back_what_was_put) {
  put("a/b/c.txt", "hello");
  EXPECT_EQ(text("a/b/c.txt"), "hello");
  put("a/b/c.txt", "other");
  EXPECT_EQ(text("a/b/c.txt"), "other");
  put("empty", "");
  EXPECT_EQ(text("empty"), "");
}

TEST_P(AnyStore, writes_parts_one_after_the_other) {
  const std::string header = "head", body(3'000'000, 'x');
  const std::span<const std::byte> parts[] = {
      std::as_bytes(std::span(header)), {}, std::as_bytes(std::span(body))};
  ASSERT_TRUE(store_->put("weights", parts));
  EXPECT_EQ(text("weights"), header + body);
}

TEST_P(AnyStore, a_blob_outlives_its_object_and_its_store) {
  const std::string large(2'000'000, 'y');
  put("small", "s");
  put("large", large);
  const Blob small_blob = store_->get("small").value(), large_blob = store_->get("large").value();
  put("small", "t");
  put("large", "now short");
  ASSERT_TRUE(store_->remove("small"));
  store_.reset();
  EXPECT_EQ(small_blob.text(), "s");
  EXPECT_EQ(large_blob.text(), large);
}

TEST_P(AnyStore, a_range_is_cut_at_the_end_of_the_object) {
  put("k", "0123456789");
  EXPECT_EQ(store_->get_range("k", 2, 3).value().text(), "234");
  EXPECT_EQ(store_->get_range("k", 8, 100).value().text(), "89");
  EXPECT_EQ(store_->get_range("k", 10, 1).value().text(), "");
  EXPECT_EQ(store_->get_range("k", UINT64_MAX, UINT64_MAX).value().text(), "");
  EXPECT_EQ(store_->get_range("k", 1, UINT64_MAX).value().text(), "123456789");
}

TEST_P(AnyStore, head_tells_the_size_and_an_etag_that_follows_the_content) {
  put("k", "12345");
  const auto first = store_->head("k").value();
  EXPECT_EQ(first.key, "k");
  EXPECT_EQ(first.size_bytes, 5);
  EXPECT_EQ(store_->head("k").value().etag, first.etag);
  put("k", "54321");
  EXPECT_NE(store_->head("k").value().etag, first.etag);
}

TEST_P(AnyStore, what_is_not_there_is_not_found) {
  put("dir/file", "x");
  for (const char* key : {"nothing", "no/thing", "dir", "dir/file/below"}) {
    EXPECT_EQ(store_->get(key).error().code, ErrorCode::kNotFound) << key;
    EXPECT_EQ(store_->head(key).error().code, ErrorCode::kNotFound) << key;
    EXPECT_EQ(store_->get_range(key, 0, 1).error().code, ErrorCode::kNotFound) << key;
    EXPECT_TRUE(store_->remove(key)) << key;
  }
  EXPECT_THAT(store_->get("no/thing").error().to_string(), HasSubstr("no/thing"));
  EXPECT_EQ(text("dir/file"), "x");
}

TEST_P(AnyStore, appends_to_what_is_there_or_to_nothing) {
  const std::string one = "one\n", two = "two\n";
  ASSERT_TRUE(store_->append("logs/metrics.jsonl", std::as_bytes(std::span(one))));
  ASSERT_TRUE(store_->append("logs/metrics.jsonl", std::as_bytes(std::span(two))));
  EXPECT_EQ(text("logs/metrics.jsonl"), "one\ntwo\n");
}

TEST_P(AnyStore, removes_objects) {
  put("a/x", "1");
  put("a/y", "2");
  ASSERT_TRUE(store_->remove("a/x"));
  ASSERT_TRUE(store_->remove("a/x"));
  EXPECT_THAT(keys(""), ElementsAre("a/y"));
}

TEST_P(AnyStore, lists_in_byte_order_of_the_whole_keys) {
  // '.' and '-' are less than '/', '0' is greater; upper case comes before lower; bytes are
  // unsigned.
  const std::vector<std::string> sorted = {
      "B", "a-b/x", "a.txt", "a/b", "a/c/d", "a0", "aa/x", "b", "z\xc3\xa9"};
  for (size_t i = 0; i < sorted.size(); ++i) put(sorted[(i * 5) % sorted.size()], "x");
  EXPECT_EQ(keys(""), sorted);
}

TEST_P(AnyStore, lists_what_begins_with_a_prefix) {
  for (const char* key : {"train/1", "train/2", "train/sub/3", "train.json", "val/1", ".hidden"}) {
    put(key, "x");
  }
  EXPECT_THAT(keys("train/"), ElementsAre("train/1", "train/2", "train/sub/3"));
  EXPECT_THAT(keys("train"), ElementsAre("train.json", "train/1", "train/2", "train/sub/3"));
  EXPECT_THAT(keys("train/s"), ElementsAre("train/sub/3"));
  EXPECT_THAT(keys("."), ElementsAre(".hidden"));
  EXPECT_THAT(keys("none/"), ElementsAre());
  EXPECT_THAT(keys("val/1/"), ElementsAre());
}

TEST_P(AnyStore, a_listing_stops_when_the_visitor_has_enough_and_may_use_the_store) {
  for (const char* key : {"a/1", "a/2", "b/3"}) put(key, "x");
  std::vector<std::string> seen;
  ASSERT_TRUE(store_->list("", [&](const ObjectInfo& info) {
    seen.push_back(info.key);
    EXPECT_EQ(info.size_bytes, 1);
    EXPECT_TRUE(store_->remove(info.key));
    return seen.size() < 2;
  }));
  EXPECT_THAT(seen, ElementsAre("a/1", "a/2"));
  EXPECT_THAT(keys(""), ElementsAre("b/3"));
}

TEST_P(AnyStore, a_store_that_is_not_there_yet_is_empty) { EXPECT_THAT(keys(""), ElementsAre()); }

TEST_P(AnyStore, refuses_hostile_keys_in_every_call) {
  const std::string with_nul("a\0b", 3), long_name(256, 'n'), long_key = [] {
    std::string key;
    while (key.size() < 1030) key += "0123456789/";
    return key + "x";
  }();
  const std::string temporary = ".atoll-tmp-1-1";
  for (const std::string& key : std::vector<std::string>{"",
                                                         ".",
                                                         "..",
                                                         "/",
                                                         "/etc/passwd",
                                                         "../x",
                                                         "a/../../x",
                                                         "a/..",
                                                         "a/./b",
                                                         "./a",
                                                         "a//b",
                                                         "a/",
                                                         "//a",
                                                         with_nul,
                                                         long_name,
                                                         "a/" + long_name,
                                                         long_key,
                                                         temporary,
                                                         "a/" + temporary}) {
    const auto refused = [&](const auto& result) {
      ASSERT_FALSE(result) << key;
      EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput) << key;
    };
    refused(store_->get(key));
    refused(store_->head(key));
    refused(store_->get_range(key, 0, 1));
    refused(put_text(*store_, key, "x"));
    refused(store_->append(key, {}));
    refused(store_->remove(key));
  }
  for (const char* prefix : {"/", "../", "a/../", "a//", "./x"}) {
    EXPECT_FALSE(store_->list(prefix, [](const ObjectInfo&) { return true; })) << prefix;
  }
  EXPECT_THAT(keys(""), ElementsAre());
}

TEST(OpenStore, opens_paths_and_file_uris) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/with space";
  auto store = open_store("file://" + directory.path() + "/with%20space", true);
  ASSERT_TRUE(store) << store.error().to_string();
  EXPECT_EQ((*store)->uri(), path);
  EXPECT_TRUE(std::filesystem::is_empty(path));  // the probe is gone again
  ASSERT_TRUE(put_text(**store, "k", "v"));
  EXPECT_EQ(open_store(path + "/").value()->get("k").value().text(), "v");
}

TEST(OpenStore, refuses_what_it_cannot_do_and_says_what_instead) {
  const TemporaryDirectory directory;
  EXPECT_EQ(open_store("gs://bucket").error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(open_store("file://host/dir").error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(open_store("file:///a%2").error().code, ErrorCode::kInvalidInput);
  EXPECT_EQ(open_store("").error().code, ErrorCode::kInvalidInput);
  LocalStore store(directory.path());
  ASSERT_TRUE(put_text(store, "file", "x"));
  EXPECT_EQ(open_store(directory.path() + "/file").error().code, ErrorCode::kInvalidInput);
  EXPECT_FALSE(open_store(directory.path() + "/file/below", true));
  EXPECT_FALSE(open_store("/proc/no-such-directory", true));
}

TEST(OpenLocation, splits_a_file_from_its_directory) {
  const TemporaryDirectory directory;
  LocalStore store(directory.path());
  ASSERT_TRUE(put_text(store, "gt.json", "{}"));
  const auto location = open_location(directory.path() + "/gt.json");
  ASSERT_TRUE(location);
  EXPECT_EQ(location->key, "gt.json");
  EXPECT_EQ(location->store->get(location->key).value().text(), "{}");
  EXPECT_EQ(open_location("gt.json").value().store->uri(), ".");
  EXPECT_EQ(open_location("/gt.json").value().store->uri(), "/");
  EXPECT_EQ(open_location("../a/gt.json").value().store->uri(), "../a");
  EXPECT_EQ(open_location("dir/").error().code, ErrorCode::kInvalidInput);
  EXPECT_EQ(open_location("dir/..").error().code, ErrorCode::kInvalidInput);
}

TEST(FakeStore, logs_its_calls_and_fails_the_one_it_is_told_to) {
  FakeStore store;
  ASSERT_TRUE(put_text(store, "a", "1"));
  store.fail_call(2, Error{ErrorCode::kIo, "disk full", "", {}});
  EXPECT_TRUE(store.get("a"));
  EXPECT_EQ(put_text(store, "a", "2").error().to_string(), "fake:: disk full");
  EXPECT_TRUE(put_text(store, "b", "3"));
  EXPECT_EQ(store.get("a").value().text(), "1");
  EXPECT_THAT(store.calls(), ElementsAre("put a", "get a", "put a", "put b", "get a"));
}

}  // namespace
}  // namespace atl::storage
