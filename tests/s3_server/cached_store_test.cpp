// A bucket as a store, on a server that somebody else wrote: what is read twice asks once, by whole
// programs that come one after the other and side by side.
#include "storage/cache/cached_store.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <thread>

#include "s3_server.h"

namespace atl::storage {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

// Passes everything on and counts.
class CountingRemote : public Remote {
 public:
  explicit CountingRemote(std::shared_ptr<Remote> remote) : remote_(std::move(remote)) {}

  uint64_t requests() const { return requests_; }
  uint64_t bytes() const { return bytes_; }

  std::string uri() const override { return remote_->uri(); }
  std::string identity() const override { return remote_->identity(); }
  void read_async(RangeRequest request, OnRange done) override {
    ++requests_;
    bytes_ += request.size_bytes;
    remote_->read_async(std::move(request), std::move(done));
  }
  Result<RemoteObject> stat(std::string_view key) override {
    ++requests_;
    return remote_->stat(key);
  }
  Result<ListPage> list_page(std::string_view prefix,
                             std::string_view next,
                             std::string_view start_after) override {
    ++requests_;
    return remote_->list_page(prefix, next, start_after);
  }
  Result<ObjectInfo> upload(std::string_view key,
                            const UploadSource& source,
                            const UploadOptions& options) override {
    return remote_->upload(key, source, options);
  }
  Result<ObjectInfo> copy(std::string_view from,
                          std::string_view to,
                          const Metadata& metadata,
                          std::string_view if_match,
                          bool* sent_again) override {
    return remote_->copy(from, to, metadata, if_match, sent_again);
  }
  Result<void> remove(std::span<const std::string> keys, bool* sent_again) override {
    return remote_->remove(keys, sent_again);
  }

 private:
  const std::shared_ptr<Remote> remote_;
  std::atomic<uint64_t> requests_ = 0;
  std::atomic<uint64_t> bytes_ = 0;
};

std::string content_of(int seed, size_t size = 90'000) {
  std::string content(size, ' ');
  uint64_t state = static_cast<uint64_t>(seed);
  for (char& c : content) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    c = static_cast<char>(state >> 56);
  }
  return content;
}

class CachedBucketTest : public S3ServerTest {
 protected:
  CachedBucketTest() {
    std::string name = (fs::temp_directory_path() / "atoll-store-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~CachedBucketTest() override { fs::remove_all(folder_); }

  // As another program opens it: nothing is shared but what lies on disk.
  struct Opened {
    std::shared_ptr<CountingRemote> remote;
    std::unique_ptr<ObjectStore> store;
  };
  Opened open() {
    Opened opened;
    opened.remote = std::make_shared<CountingRemote>(remote("coco/"));
    auto names = Namespace::open(
        opened.remote, {.directory = folder_ / "names", .max_age = std::chrono::hours(1)});
    auto cache = BlockCache::open({.directory = folder_ / "cache", .min_free_bytes = 0});
    EXPECT_TRUE(names && cache);
    opened.store = make_cached_store(opened.remote, *names, *cache);
    return opened;
  }
  std::vector<std::string> put_pictures(int count) {
    const auto bucket = remote("coco/");
    std::vector<std::string> keys;
    for (int i = 0; i < count; ++i) {
      keys.push_back(fmt::format("train2017/{:06}.jpg", i));
      const std::string content = content_of(i);
      const auto bytes = std::as_bytes(std::span(content));
      EXPECT_TRUE(bucket->upload(keys.back(), upload_source(Blob({}, bytes)), {}));
    }
    return keys;
  }

  fs::path folder_;
};

TEST_F(CachedBucketTest, a_second_program_that_reads_the_same_makes_no_request) {
  const auto keys = put_pictures(40);
  {
    const Opened first = open();
    first.store->will_need(keys);
    for (size_t i = 0; i < keys.size(); ++i) {
      EXPECT_TRUE(first.store->get(keys[i])->text() == content_of(static_cast<int>(i))) << i;
    }
    EXPECT_GE(first.remote->requests(), keys.size());
  }
  const Opened second = open();
  for (size_t i = 0; i < keys.size(); ++i) {
    EXPECT_TRUE(second.store->get(keys[i])->text() == content_of(static_cast<int>(i))) << i;
  }
  EXPECT_EQ(second.remote->requests(), 0);
}

TEST_F(CachedBucketTest, readers_side_by_side_fetch_each_byte_once) {
  const auto keys = put_pictures(40);
  std::vector<Opened> readers;
  for (int i = 0; i < 4; ++i) readers.push_back(open());
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (const Opened& reader : readers) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < keys.size(); ++i) {
        const auto bytes = reader.store->get(keys[i]);
        if (!bytes || bytes->text() != content_of(static_cast<int>(i))) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  uint64_t bytes = 0;
  for (const Opened& reader : readers) bytes += reader.remote->bytes();
  EXPECT_EQ(bytes, keys.size() * content_of(0).size());
}

TEST_F(CachedBucketTest, what_a_run_writes_is_there_and_its_place_is_its_own) {
  const Opened run = open();
  const auto claim = run.store->claim();
  ASSERT_TRUE(claim) << claim.error().to_string();
  EXPECT_EQ(claim->note, "");
  const auto second = open().store->claim();
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("another run is writing there"));
  // Larger than a part of a multipart upload.
  const std::string model = content_of(7, 20'000'000);
  ASSERT_TRUE(put_text(*run.store, "runs/a/model.safetensors", model));
  for (const std::string_view line : {"{\"step\":1}\n", "{\"step\":2}\n"}) {
    ASSERT_TRUE(run.store->append("runs/a/metrics.jsonl", std::as_bytes(std::span(line))));
  }
  ASSERT_TRUE(run.store->flush());
  const Opened reader = open();
  EXPECT_TRUE(reader.store->get("runs/a/model.safetensors")->text() == model);
  EXPECT_EQ(reader.store->get("runs/a/metrics.jsonl")->text(), "{\"step\":1}\n{\"step\":2}\n");
  std::vector<std::string> keys;
  ASSERT_TRUE(reader.store->list("", [&](const ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  }));
  EXPECT_THAT(keys, ElementsAre("runs/a/metrics.jsonl", "runs/a/model.safetensors"));
  ASSERT_TRUE(run.store->remove("runs/a/model.safetensors"));
  EXPECT_EQ(open().store->head("runs/a/model.safetensors").error().code, ErrorCode::kNotFound);
}

TEST_F(CachedBucketTest, an_object_in_order_and_in_parts_is_read_ahead_and_once) {
  const std::string content = content_of(3, 30'000'001);
  const auto bytes = std::as_bytes(std::span(content));
  ASSERT_TRUE(remote("coco/")->upload("records", upload_source(Blob({}, bytes)), {}));
  const Opened reader = open();
  std::string got;
  while (got.size() < content.size()) {
    const auto part = reader.store->get_range("records", got.size(), 700'000);
    ASSERT_TRUE(part) << part.error().to_string();
    got += part->text();
  }
  EXPECT_TRUE(got == content);
  EXPECT_EQ(reader.remote->bytes(), content.size());
}

}  // namespace
}  // namespace atl::storage
