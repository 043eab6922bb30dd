// Records on a bucket: the pictures' order reaches the store that holds the files.
#include "dataset/tfrecord_store.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "dataset/coco_builder.h"
#include "dataset/tfrecord.h"
#include "storage/cache/cached_store.h"
#include "storage/cache/fake_block_cache.h"
#include "storage/fake_remote.h"
#include "storage/namespace/fake_namespace.h"

namespace atl::dataset {
namespace {

using storage::BlockCache;

// Pictures of different lengths, once as files and once as records in two shards, in one bucket.
class TfrecordBucket : public testing::Test {
 protected:
  TfrecordBucket() {
    std::vector<std::string> shards(2);
    std::vector<RecordPlace> places;
    CocoBuilder builder;
    for (size_t i = 0; i < kPictures; ++i) {
      const std::string name = fmt::format("{:03}.jpg", i);
      const std::string picture(700 + 37 * i, static_cast<char>('a' + i % 26));
      remote_->put("train/" + name, picture);
      pictures_.emplace(name, picture);
      std::string& shard = shards[i % 2];
      const std::string data = "before" + picture + "behind";
      places.push_back({.shard = static_cast<uint32_t>(i % 2),
                        .offset = shard.size(),
                        .data_bytes = data.size(),
                        .encoded_offset = 6,
                        .encoded_bytes = picture.size()});
      EXPECT_TRUE(builder.add_image(static_cast<int64_t>(i), 8, 6, name));
      shard += frame_tfrecord(data);
      // Not the files' order.
      order_.insert(order_.begin() + static_cast<ptrdiff_t>(i * 7 % (order_.size() + 1)), name);
    }
    std::vector<storage::ObjectInfo> infos;
    for (size_t i = 0; i < 2; ++i) {
      const std::string key = fmt::format("train-{}.tfrecord", i);
      remote_->put(key, shards[i]);
      infos.push_back(remote_->stat(key)->info);
    }
    places_ = std::move(places);
    by_name_.resize(kPictures);
    std::iota(by_name_.begin(), by_name_.end(), 0U);  // as they are called
    records_ = std::make_unique<TfrecordStore>(
        open(record_cache_), infos, builder.finish(), RecordTable{places_, by_name_, nullptr});
    files_ = open(file_cache_);
  }
  std::unique_ptr<storage::ObjectStore> open(std::shared_ptr<BlockCache> cache) {
    return storage::make_cached_store(
        remote_, std::make_shared<storage::FakeNamespace>(remote_), std::move(cache));
  }
  // How often a reader of this order had to ask for something itself.
  size_t waits(storage::ObjectStore& store,
               const storage::FakeBlockCache& cache,
               const std::string& prefix) {
    std::vector<std::string> keys;
    for (const std::string& name : order_) keys.push_back(prefix + name);
    store.will_need(keys);
    cache.wait_for_answers(keys.size());
    for (const std::string& name : order_) {
      const auto picture = store.get(prefix + name);
      EXPECT_TRUE(picture && picture->text() == pictures_.at(name)) << name;
    }
    size_t now = 0;
    for (const auto& asked : cache.asked()) now += asked.urgency == BlockCache::Urgency::kNow;
    return now;
  }

  static constexpr size_t kPictures = 60;
  const std::shared_ptr<storage::FakeRemote> remote_ = std::make_shared<storage::FakeRemote>();
  const std::shared_ptr<storage::FakeBlockCache> record_cache_ =
      std::make_shared<storage::FakeBlockCache>(1000);
  const std::shared_ptr<storage::FakeBlockCache> file_cache_ =
      std::make_shared<storage::FakeBlockCache>(1000);
  std::map<std::string, std::string> pictures_;
  std::vector<RecordPlace> places_;
  std::vector<uint32_t> by_name_;
  std::vector<std::string> order_;
  std::unique_ptr<TfrecordStore> records_;
  std::unique_ptr<storage::ObjectStore> files_;
};

TEST_F(TfrecordBucket, an_order_over_records_waits_for_the_bucket_no_more_than_one_over_files) {
  EXPECT_EQ(waits(*files_, *file_cache_, "train/"), 0);
  EXPECT_EQ(waits(*records_, *record_cache_, ""), 0);
}

TEST_F(TfrecordBucket, only_the_records_that_are_named_are_fetched_ahead) {
  const std::vector<std::string> keys = {order_[3], "unknown.jpg", order_[8]};
  records_->will_need(keys);
  record_cache_->wait_for_answers(2);
  uint64_t blocks = 0;
  for (const auto& asked : record_cache_->asked()) blocks += asked.blocks;
  EXPECT_LE(blocks, 2 * 4);  // a record has at most 2.9 kB, a block 1 kB
  for (const auto& key : {keys[0], keys[2]}) {
    EXPECT_EQ(records_->get(key)->text(), pictures_.at(key));
  }
  EXPECT_EQ(record_cache_->asked().size(), 2);
}

}  // namespace
}  // namespace atl::dataset
