#include "storage/cache/usage_table.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <fstream>
#include <numeric>
#include <unordered_set>

#include "storage/cache/cache_fixture.h"

namespace atl::storage {
namespace {

constexpr uint64_t kBlock = uint64_t{1} << 20;

// A cache without files: what the table lets go is gone.
class SimulatedCache {
 public:
  explicit SimulatedCache(uint64_t blocks) : max_bytes_(blocks * kBlock) {
    FileOperations files;
    table_ = UsageTable::open({-1, "", max_bytes_}, files);
  }
  bool read(uint64_t block) {
    const uint64_t id = hash_key({block, 1});
    if (there_.contains(id)) {
      table_->use({id, kBlock});
      return true;
    }
    const auto room = table_->make_room({id, kBlock}, max_bytes_, 0);
    for (const auto& leaving : room.leaving) there_.erase(leaving.id);
    if (room.granted) there_.insert(id);
    table_->end_writing(id, room.granted);
    EXPECT_LE(table_->used_bytes(), max_bytes_);
    EXPECT_EQ(table_->used_bytes(), there_.size() * kBlock);
    return false;
  }
  // The share of hits in one pass over blocks [first, first + count), in order or shuffled.
  double epoch(uint64_t first, uint64_t count, std::optional<uint64_t> shuffle = std::nullopt) {
    std::vector<uint64_t> order(count);
    std::iota(order.begin(), order.end(), first);
    if (shuffle) {
      KeyedRandom random({*shuffle});
      for (uint64_t i = count - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
    }
    uint64_t hits = 0;
    for (const uint64_t block : order) hits += read(block) ? 1 : 0;
    return static_cast<double>(hits) / static_cast<double>(count);
  }

 private:
  uint64_t max_bytes_;
  std::unique_ptr<UsageTable> table_;
  std::unordered_set<uint64_t> there_;
};

constexpr uint64_t kCapacity = 1000;  // blocks

TEST(UsageTable, an_ordered_epoch_over_half_as_much_again_hits_near_what_fits) {
  SimulatedCache cache(kCapacity);
  const uint64_t count = kCapacity * 3 / 2;
  for (int epoch = 0; epoch < 2; ++epoch) cache.epoch(0, count);
  for (int epoch = 2; epoch < 8; ++epoch) EXPECT_GT(cache.epoch(0, count), 0.58) << epoch;
}

TEST(UsageTable, a_shuffled_epoch_over_half_as_much_again_hits_near_what_fits) {
  SimulatedCache cache(kCapacity);
  const uint64_t count = kCapacity * 3 / 2;
  for (uint64_t epoch = 0; epoch < 2; ++epoch) cache.epoch(0, count, epoch);
  for (uint64_t epoch = 2; epoch < 8; ++epoch) {
    EXPECT_GT(cache.epoch(0, count, epoch), 0.58) << epoch;
  }
}

TEST(UsageTable, an_epoch_over_ten_times_as_much_still_hits) {
  SimulatedCache cache(kCapacity);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) cache.epoch(0, 10 * kCapacity, epoch);
  EXPECT_GT(cache.epoch(0, 10 * kCapacity, 3), 0.07);
  EXPECT_GT(cache.epoch(0, 10 * kCapacity), 0.07);
}

TEST(UsageTable, a_hot_set_outlives_scans) {
  SimulatedCache cache(kCapacity);
  KeyedRandom random({7});
  const uint64_t hot = kCapacity / 4;
  uint64_t scanned = 1'000'000;
  uint64_t hits = 0;
  constexpr uint64_t kRounds = 10'000;
  for (uint64_t i = 0; i < 2 * kRounds; ++i) {
    const bool hit = cache.read(random.below(hot));
    hits += hit && i >= kRounds ? 1 : 0;
    for (int j = 0; j < 2; ++j) cache.read(scanned++);  // never again
  }
  EXPECT_GT(static_cast<double>(hits) / kRounds, 0.95);
}

TEST(UsageTable, a_set_that_nobody_reads_any_more_makes_room) {
  SimulatedCache cache(kCapacity);
  for (uint64_t epoch = 0; epoch < 6; ++epoch) cache.epoch(0, kCapacity * 9 / 10, epoch);
  cache.epoch(1'000'000, kCapacity * 9 / 10, 100);
  cache.epoch(1'000'000, kCapacity * 9 / 10, 101);
  EXPECT_GT(cache.epoch(1'000'000, kCapacity * 9 / 10, 102), 0.95);
}

class UsageTableFile : public CacheFixture {
 protected:
  UsageTableFile() { directory_ = UniqueFd(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY)); }
  std::unique_ptr<UsageTable> open(const std::string& boot) {
    return UsageTable::open({directory_.get(), boot, 1000 * kBlock}, files_);
  }
  FileOperations files_;
  UniqueFd directory_;
};

TEST_F(UsageTableFile, is_shared_by_those_of_a_machine_and_kept_for_the_next) {
  {
    const auto first = open("boot-a");
    EXPECT_TRUE(first->is_shared());
    EXPECT_TRUE(first->must_recount());
    first->use({77, kBlock});
    const auto second = open("boot-a");
    EXPECT_FALSE(second->must_recount());
    EXPECT_TRUE(second->holds(77));
    second->lose(77);
    EXPECT_FALSE(first->holds(77));
    EXPECT_EQ(first->used_bytes(), 0);
    second->use({78, kBlock});
  }
  const auto next = open("boot-a");
  EXPECT_FALSE(next->must_recount());
  EXPECT_TRUE(next->holds(78));
  EXPECT_EQ(next->used_bytes(), kBlock);
}

TEST_F(UsageTableFile, the_next_boots_table_begins_with_what_was_known) {
  open("boot-a")->use({77, kBlock});
  const auto next = open("boot-b");
  EXPECT_TRUE(next->must_recount());
  EXPECT_TRUE(next->holds(77));
  EXPECT_FALSE(open("")->holds(77));
}

TEST_F(UsageTableFile, other_machines_are_seen_while_they_sign_and_forgotten_after_a_week) {
  const auto here = open("boot-a");
  EXPECT_FALSE(here->is_shared_with_machines());
  open("boot-b");
  EXPECT_TRUE(here->is_shared_with_machines());
  const auto other = folder_ / "usage-boot-b";
  const auto written = std::filesystem::last_write_time(other);
  std::filesystem::last_write_time(other, written - std::chrono::hours(1));
  EXPECT_FALSE(here->is_shared_with_machines());
  EXPECT_TRUE(std::filesystem::exists(other));
  std::filesystem::last_write_time(other, written - std::chrono::hours(24 * 8));
  EXPECT_FALSE(here->is_shared_with_machines());
  EXPECT_FALSE(std::filesystem::exists(other));
}

}  // namespace
}  // namespace atl::storage
