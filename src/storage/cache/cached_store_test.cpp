#include "storage/cache/cached_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <numeric>

#include "storage/cache/fake_block_cache.h"
#include "storage/fake_remote.h"
#include "storage/namespace/fake_namespace.h"

namespace atl::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kBlock = 1000;

// No two places alike.
std::string text_of(size_t size, char seed) {
  std::string text(size, ' ');
  uint64_t state = static_cast<unsigned char>(seed);
  for (char& c : text) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    c = static_cast<char>('!' + (state >> 57));
  }
  return text;
}

class CachedStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<ObjectStore> open() { return make_cached_store(remote_, names_, cache_); }
  uint64_t requests() const {
    const auto counts = remote_->counts();
    return counts.gets + counts.lists + counts.stats;
  }
  Result<void> put(std::string_view key, std::string_view text) {
    return put_text(*store_, key, text);
  }
  std::string get(std::string_view key) {
    const auto blob = store_->get(key);
    return blob ? std::string(blob->text()) : blob.error().to_string();
  }

  const std::shared_ptr<FakeRemote> remote_ = std::make_shared<FakeRemote>();
  const std::shared_ptr<FakeNamespace> names_ = std::make_shared<FakeNamespace>(remote_);
  const std::shared_ptr<FakeBlockCache> cache_ = std::make_shared<FakeBlockCache>(kBlock);
  std::unique_ptr<ObjectStore> store_ = open();
};

TEST_F(CachedStoreTest, gives_objects_of_any_size) {
  for (const size_t size : {0U, 1U, 999U, 1000U, 1001U, 5432U}) {
    const std::string text = text_of(size, 'a');
    remote_->put("k" + std::to_string(size), text);
    EXPECT_EQ(get("k" + std::to_string(size)), text) << size;
  }
}

TEST_F(CachedStoreTest, an_object_of_one_block_is_not_copied) {
  remote_->put("a.jpg", text_of(900, 'a'));
  const Blob blob = store_->get("a.jpg").value();
  const ObjectVersion version{"a.jpg", names_->lookup("a.jpg")->etag, 900};
  EXPECT_EQ(blob.bytes().data(), cache_->find("", version, 0)->bytes().data());
}

TEST_F(CachedStoreTest, a_long_object_comes_mapped_and_whole) {
  const auto wide = std::make_shared<FakeBlockCache>(1 << 20);
  std::string text((33 << 20) + 17, 'x');
  for (size_t i = 0; i + 8 < text.size(); i += 4096)
    text.replace(i, 8, std::to_string(10'000'000 + i));
  remote_->put("annotations.json", text);
  const auto store = make_cached_store(remote_, names_, wide);
  EXPECT_TRUE(store->get("annotations.json").value().text() == text);
}

TEST_F(CachedStoreTest, a_second_read_makes_no_request) {
  remote_->put("a.jpg", text_of(3500, 'a'));
  get("a.jpg");
  const auto before = requests();
  EXPECT_EQ(get("a.jpg"), text_of(3500, 'a'));
  EXPECT_EQ(open()->get("a.jpg").value().text(), text_of(3500, 'a'));
  EXPECT_EQ(requests(), before);
}

TEST_F(CachedStoreTest, gives_parts_and_fewer_bytes_where_the_object_ends) {
  const std::string text = text_of(3500, 'a');
  remote_->put("a", text);
  for (const auto& [offset, size] : std::vector<std::pair<uint64_t, uint64_t>>{{0, 10},
                                                                               {990, 20},
                                                                               {999, 1},
                                                                               {1000, 1000},
                                                                               {500, 3000},
                                                                               {3400, 500},
                                                                               {3500, 1},
                                                                               {9999, 9},
                                                                               {10, 0}}) {
    const auto part = store_->get_range("a", offset, size);
    EXPECT_EQ(part.value().text(), text.substr(std::min<size_t>(offset, 3500), size)) << offset;
  }
}

TEST_F(CachedStoreTest, one_read_never_mixes_two_versions) {
  const std::string old_text = text_of(4500, 'a');
  const std::string new_text = text_of(4600, 'b');
  remote_->put("a", old_text);
  ASSERT_EQ(store_->get_range("a", 0, 10).value().text(),
            old_text.substr(0, 10));  // block 0 is there
  remote_->put("a", new_text);
  EXPECT_EQ(get("a"), new_text);
  EXPECT_EQ(store_->get_range("a", 900, 3000).value().text(), new_text.substr(900, 3000));
}

TEST_F(CachedStoreTest, an_object_that_changes_while_it_is_read_is_read_again) {
  remote_->put("a", text_of(4500, 'a'));
  remote_->hold_reads();
  auto reading = std::async(std::launch::async, [&] { return get("a"); });
  remote_->wait_for_reads(5);
  remote_->put("a", text_of(4500, 'b'));
  remote_->release_reads();
  EXPECT_EQ(reading.get(), text_of(4500, 'b'));
}

TEST_F(CachedStoreTest, one_that_never_stops_changing_is_an_error_that_says_so) {
  remote_->put("a", text_of(100, 'a'));
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call != "read a") return std::nullopt;
    return Error{ErrorCode::kConflict, "fake:/a: another one by now", {}, {}};
  });
  const auto bytes = store_->get("a");
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, ErrorCode::kConflict);
  EXPECT_THAT(bytes.error().hint, HasSubstr("writes to it all the time"));
}

TEST_F(CachedStoreTest, one_that_the_bucket_has_and_does_not_give_is_not_missing) {
  remote_->put("a", text_of(100, 'a'));
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call != "read a") return std::nullopt;
    return Error{ErrorCode::kNotFound, "fake:/a", {}, {}};
  });
  const auto bytes = store_->get("a");
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, ErrorCode::kInconsistent);
  EXPECT_THAT(bytes.error().message, HasSubstr("does not give it"));
}

TEST_F(CachedStoreTest, one_that_is_removed_before_the_last_try_is_missing) {
  remote_->put("a", text_of(100, 'a'));
  int reads = 0;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call != "read a") return std::nullopt;
    if (++reads < 4) return Error{ErrorCode::kConflict, "fake:/a: another one by now", {}, {}};
    remote_->erase("a");
    return Error{ErrorCode::kNotFound, "fake:/a", {}, {}};
  });
  EXPECT_EQ(store_->get("a").error().code, ErrorCode::kNotFound);
}

TEST_F(CachedStoreTest, what_is_not_there_is_not_found_also_when_it_was_known) {
  EXPECT_EQ(store_->get("a").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_->head("a").error().code, ErrorCode::kNotFound);
  remote_->put("a", "x");
  ASSERT_TRUE(store_->head("a"));
  remote_->erase("a");
  EXPECT_EQ(store_->get("a").error().code, ErrorCode::kNotFound);
}

TEST_F(CachedStoreTest, keys_that_would_leave_the_store_are_refused_everywhere) {
  for (const char* key : {"", "/a", "../a", "a/../b", "a//b", "a/", ".atoll-tmp-claim"}) {
    EXPECT_EQ(store_->get(key).error().code, ErrorCode::kInvalidInput) << key;
    EXPECT_EQ(store_->get_range(key, 0, 1).error().code, ErrorCode::kInvalidInput) << key;
    EXPECT_EQ(store_->head(key).error().code, ErrorCode::kInvalidInput) << key;
    EXPECT_EQ(put(key, "x").error().code, ErrorCode::kInvalidInput) << key;
    EXPECT_EQ(store_->append(key, {}).error().code, ErrorCode::kInvalidInput) << key;
    EXPECT_EQ(store_->remove(key).error().code, ErrorCode::kInvalidInput) << key;
  }
  EXPECT_EQ(requests(), 0);
}

TEST_F(CachedStoreTest, head_asks_the_bucket_and_later_reads_are_of_what_it_said) {
  remote_->put("a", "old");
  EXPECT_EQ(get("a"), "old");
  remote_->put("a", "newer");
  EXPECT_EQ(get("a"), "old");  // as the namespace has it
  EXPECT_EQ(store_->head("a")->size_bytes, 5);
  EXPECT_EQ(get("a"), "newer");
}

TEST_F(CachedStoreTest, put_sends_the_parts_one_after_the_other) {
  const std::string a = text_of(700, 'a');
  const std::string b = text_of(1, 'b');
  const std::string c = text_of(2500, 'c');
  const std::vector<std::span<const std::byte>> parts = {
      std::as_bytes(std::span(a)), {}, std::as_bytes(std::span(b)), std::as_bytes(std::span(c))};
  ASSERT_TRUE(store_->put("x", parts));
  EXPECT_EQ(remote_->content("x"), a + b + c);
  EXPECT_EQ(get("x"), a + b + c);
  ASSERT_TRUE(store_->put("empty", {}));
  EXPECT_EQ(get("empty"), "");
}

TEST_F(CachedStoreTest, what_was_put_or_removed_is_known_at_once) {
  ASSERT_TRUE(put("a", "1"));
  EXPECT_EQ(get("a"), "1");
  ASSERT_TRUE(put("a", "22"));
  EXPECT_EQ(get("a"), "22");
  ASSERT_TRUE(store_->remove("a"));
  EXPECT_EQ(store_->get("a").error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(store_->remove("a"));
}

TEST_F(CachedStoreTest, a_log_is_in_the_bucket_after_flush_and_read_as_it_was_written) {
  remote_->put("log", "before\n");
  for (const std::string_view line : {"one\n", "two\n"}) {
    ASSERT_TRUE(store_->append("log", std::as_bytes(std::span(line))));
  }
  EXPECT_EQ(remote_->content("log"), "before\n");
  EXPECT_EQ(store_->head("log")->size_bytes, 15);
  EXPECT_EQ(get("log"), "before\none\ntwo\n");
  const std::string_view last = "three\n";
  ASSERT_TRUE(store_->append("log", std::as_bytes(std::span(last))));
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(remote_->content("log"), "before\none\ntwo\nthree\n");
}

TEST_F(CachedStoreTest, a_log_does_not_begin_anew_because_the_bucket_is_not_there_for_a_while) {
  remote_->put("log", "before\n");
  remote_->set_fault([](std::string_view call) -> std::optional<Error> {
    return Error{ErrorCode::kNotFound, std::string(call), {}, {}};
  });
  const std::string_view line = "one\n";
  EXPECT_EQ(store_->append("log", std::as_bytes(std::span(line))).error().code, ErrorCode::kIo);
  EXPECT_EQ(store_->get("log").error().code, ErrorCode::kIo);
  remote_->set_fault(nullptr);
  ASSERT_TRUE(store_->append("log", std::as_bytes(std::span(line))));
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(remote_->content("log"), "before\none\n");
}

TEST_F(CachedStoreTest, a_log_is_in_the_bucket_when_the_store_is_gone) {
  const std::string_view line = "one\n";
  ASSERT_TRUE(store_->append("log", std::as_bytes(std::span(line))));
  store_.reset();
  EXPECT_EQ(remote_->content("log"), "one\n");
}

TEST_F(CachedStoreTest, lists_in_order_and_without_what_no_directory_can_hold) {
  for (const char* key : {"b/2", "a", "b/", "b//x", "b/1", "../y", "c", ".atoll-tmp-claim"}) {
    remote_->put(key, "x");
  }
  std::vector<std::string> keys;
  const auto note = [&](const ObjectInfo& info) {
    keys.push_back(info.key);
    return keys.size() < 3;
  };
  ASSERT_TRUE(store_->list("b/", note));
  EXPECT_THAT(keys, ElementsAre("b/1", "b/2"));
  keys.clear();
  ASSERT_TRUE(store_->list("", note));
  EXPECT_THAT(keys, ElementsAre("a", "b/1", "b/2"));
  EXPECT_EQ(store_->list("../", note).error().code, ErrorCode::kInvalidInput);
}

TEST_F(CachedStoreTest, lists_more_than_a_page_once_each_and_reads_what_it_listed) {
  for (int i = 0; i < 2500; ++i) remote_->put("k" + std::to_string(10'000 + i), "old");
  remote_->put("other", "x");
  EXPECT_EQ(get("k10003"), "old");
  remote_->put("k10003", "newer");
  remote_->put("k12004", "newer");
  std::vector<std::string> keys;
  const auto note = [&](const ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  };
  ASSERT_TRUE(store_->list("k", note));
  ASSERT_EQ(keys.size(), 2500);
  for (size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(keys[i], "k" + std::to_string(10'000 + i));
  EXPECT_EQ(get("k10003"), "newer");
  EXPECT_EQ(get("k12004"), "newer");
}

TEST_F(CachedStoreTest, what_another_machine_has_written_since_is_found) {
  class Forgetful : public FakeNamespace {
   public:
    using FakeNamespace::FakeNamespace;
    Result<ObjectInfo> lookup(std::string_view key) override {
      if (first_) {
        first_ = false;
        return fail(ErrorCode::kNotFound, "listed before it was there");
      }
      return FakeNamespace::lookup(key);
    }
    bool first_ = true;
  };
  remote_->put("a", "x");
  const auto store = make_cached_store(remote_, std::make_shared<Forgetful>(remote_), cache_);
  EXPECT_EQ(store->get("a").value().text(), "x");
}

TEST_F(CachedStoreTest, what_will_be_needed_is_there_before_it_is_asked_for) {
  std::vector<std::string> keys;
  for (int i = 0; i < 20; ++i) {
    keys.push_back("k" + std::to_string(i));
    remote_->put(keys.back(), text_of(1500, static_cast<char>('a' + i)));
  }
  store_->will_need(keys);
  remote_->hold_reads();  // whatever has not begun by now waits
  remote_->release_reads();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(get(keys[static_cast<size_t>(i)]), text_of(1500, static_cast<char>('a' + i)));
  }
  EXPECT_EQ(remote_->counts().gets, 40);  // each block once, whoever came first
  EXPECT_EQ(names_->imports(), 1);
  store_->will_need(keys);
  EXPECT_EQ(names_->imports(), 1);
}

TEST_F(CachedStoreTest, ranges_that_will_be_needed_are_there_before_they_are_asked_for) {
  const std::string content = text_of(50'000, 'a');
  remote_->put("records", content);
  std::vector<ObjectRange> order;
  for (uint64_t i = 0; i < 20; ++i) order.push_back({"records", (i * 17'123) % 48'000, 1500});
  store_->will_need_ranges(order);
  cache_->wait_for_answers(order.size());
  const size_t asked = cache_->asked().size();
  for (const ObjectRange& range : order) {
    const auto bytes = store_->get_range("records", range.offset, range.size_bytes);
    ASSERT_TRUE(bytes);
    EXPECT_EQ(bytes->text(), content.substr(range.offset, range.size_bytes));
  }
  EXPECT_EQ(cache_->asked().size(), asked);
  EXPECT_EQ(names_->imports(), 0);
}

TEST_F(CachedStoreTest, a_range_that_was_fetched_ahead_and_has_changed_is_read_anew) {
  remote_->put("records", text_of(5000, 'a'));
  const ObjectRange range{"records", 1000, 500};
  store_->will_need_ranges(std::span(&range, 1));
  cache_->wait_for_answers(1);
  remote_->put("records", text_of(5000, 'b'));
  ASSERT_TRUE(store_->head("records"));
  EXPECT_EQ(store_->get_range("records", 1000, 500)->text(), text_of(5000, 'b').substr(1000, 500));
}

TEST_F(CachedStoreTest, the_network_s_errors_are_the_read_s) {
  remote_->put("a", "x");
  remote_->set_fault([&](std::string_view) -> std::optional<Error> {
    return Error{ErrorCode::kIo, "no answer", {}, {}};
  });
  EXPECT_EQ(store_->get("a").error().code, ErrorCode::kIo);
  EXPECT_EQ(store_->head("a").error().code, ErrorCode::kIo);
  EXPECT_EQ(put("a", "y").error().code, ErrorCode::kIo);
  EXPECT_EQ(store_->list("", [](const auto&) { return true; }).error().code, ErrorCode::kIo);
  const std::string_view line = "one\n";
  EXPECT_EQ(store_->append("log", std::as_bytes(std::span(line))).error().code, ErrorCode::kIo);
  remote_->set_fault(nullptr);
  EXPECT_EQ(get("a"), "x");
}

}  // namespace
}  // namespace atl::storage
