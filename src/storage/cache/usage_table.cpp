#include "storage/cache/usage_table.h"

#include <algorithm>
#include <bit>

#include "base/keyed_random.h"
#include "storage/cache/usage_table_parts.h"

namespace atl::storage {
namespace {

constexpr uint64_t kBucketSlots = 16;
// As many are compared to find the one to give up. The worth of the least of 48 is within the lowest
// twentieth in 9 of 10 cases.
constexpr int kCandidates = 48;
constexpr uint64_t kLongestScan = uint64_t{1} << 16;
// Uses of a block this soon after another are one use: several readers of one block, small reads in a
// row. Nor is a block given up so soon after its use.
constexpr uint32_t kOneUseOfCapacity = 64;

// What is known of reuse comes from every fourth name, and those are remembered for longer than others: a
// full table knows so of four times as many.
bool is_in_sample(uint64_t id) { return id % 4 == 0; }
constexpr uint64_t kLookedAtForWaiting = uint64_t{1} << 14;

enum : uint64_t { kRemembered = 0, kBeingWritten = 1, kOnDisk = 2 };

// used_at 32 | pages 24 | class 2 at bit 2 | state 2
struct Value {
  explicit Value(uint64_t packed)
      : used_at(static_cast<uint32_t>(packed >> 32)),
        pages((packed >> 8) & 0xffffff),
        reuse(static_cast<int>((packed >> 2) & 3)),
        state(packed & 3) {}
  uint64_t packed() const {
    return uint64_t{used_at} << 32 | pages << 8 | static_cast<uint64_t>(reuse) << 2 | state;
  }
  uint32_t used_at;
  uint64_t pages;
  int reuse;
  uint64_t state;
};

uint64_t pages_of(uint64_t bytes) {
  return std::min<uint64_t>((bytes + kPageBytes - 1) / kPageBytes, 0xffffff);
}

}  // namespace

UsageTable::Slot* UsageTable::bucket_of(uint64_t id) const {
  const int bits = static_cast<int>(std::bit_width(slots_count_ / kBucketSlots)) - 1;
  return slots_ + (id >> (64 - bits)) * kBucketSlots;
}

UsageTable::Slot* UsageTable::find(uint64_t id) const {
  Slot* bucket = bucket_of(id);
  for (uint64_t i = 0; i < kBucketSlots; ++i) {
    if (bucket[i].id.load(std::memory_order_acquire) == id) return bucket + i;
  }
  return nullptr;
}

uint32_t UsageTable::now() const {
  return static_cast<uint32_t>(shared_->clock_bytes.load(std::memory_order_relaxed) >>
                               shared_->unit_shift);
}

// A free place, that of the name that is missed least, or that of a block given up for it.
UsageTable::Slot* UsageTable::place_for(uint64_t id, std::vector<Block>& leaving) {
  if (Slot* known = find(id)) return known;
  Slot* bucket = bucket_of(id);
  Slot* name = nullptr;
  Slot* block = nullptr;
  uint64_t name_score = 0;
  uint64_t block_score = 0;
  for (Slot* slot = bucket; slot < bucket + kBucketSlots; ++slot) {
    const uint64_t other = slot->id.load(std::memory_order_relaxed);
    if (other == 0) return slot;
    const Value value(slot->value.load(std::memory_order_relaxed));
    const uint64_t age = now() - value.used_at;
    const uint64_t score = 1 + age + (is_in_sample(other) ? 0 : uint64_t{1} << 32);
    if (value.state == kRemembered && score > name_score) {
      name = slot;
      name_score = score;
    } else if (value.state == kOnDisk && age >= block_score) {
      block = slot;
      block_score = age;
    }
  }
  if (name == nullptr && block != nullptr) leaving.push_back(give_up(*(name = block)));
  if (name != nullptr) name->id.store(0, std::memory_order_relaxed);
  return name;
}

void UsageTable::insert(Block block, State state, std::vector<Block>& leaving) {
  Slot* slot = place_for(block.id, leaving);
  if (slot == nullptr) return;
  Value value(0);
  const uint32_t at = now();
  if (slot->id.load(std::memory_order_relaxed) == block.id) {
    value = Value(slot->value.load(std::memory_order_relaxed));
    if (value.state != kRemembered) shared_->used_pages.fetch_sub(value.pages);
    const uint32_t age = at - value.used_at;
    if (is_in_sample(block.id)) shared_->reuse.count(value.reuse, age);
    value.reuse = reuse_class(age, shared_->capacity);
  }
  value.used_at = at;
  value.pages = pages_of(block.disk_bytes);
  value.state = state == State::kWriting ? kBeingWritten : kOnDisk;
  slot->value.store(value.packed(), std::memory_order_relaxed);
  slot->id.store(block.id, std::memory_order_release);
  shared_->used_pages.fetch_add(value.pages);
  shared_->clock_bytes.fetch_add(block.disk_bytes, std::memory_order_relaxed);
}

UsageTable::Block UsageTable::give_up(Slot& slot) {
  Value value(slot.value.load(std::memory_order_relaxed));
  value.state = kRemembered;
  slot.value.store(value.packed(), std::memory_order_relaxed);
  shared_->used_pages.fetch_sub(value.pages);
  return {slot.id.load(std::memory_order_relaxed), value.pages * kPageBytes};
}

void UsageTable::learn() {
  const uint64_t clock = shared_->clock_bytes.load(std::memory_order_relaxed);
  const uint64_t capacity_bytes = uint64_t{shared_->capacity} << shared_->unit_shift;
  if (clock - shared_->halved_at_bytes.load() > 2 * capacity_bytes) {
    shared_->halved_at_bytes.store(clock);
    shared_->reuse.halve();
  }
  if (clock - learnt_at_bytes_ > capacity_bytes / kOneUseOfCapacity) {
    learnt_at_bytes_ = clock;
    density_.update(shared_->reuse, count_waiting(), shared_->capacity);
  }
}

// Of the sample, from a part of the table.
ReuseTable<float> UsageTable::count_waiting() const {
  const uint64_t looked_at = std::min(slots_count_, kLookedAtForWaiting);
  const uint64_t start = mix64(shared_->draws.fetch_add(1)) & (slots_count_ - 1);
  const uint32_t at = now();
  ReuseTable<float> waiting{};
  for (uint64_t i = 0; i < looked_at; ++i) {
    const Slot& slot = slots_[(start + i) & (slots_count_ - 1)];
    const uint64_t id = slot.id.load(std::memory_order_relaxed);
    if (id == 0 || !is_in_sample(id)) continue;
    const Value value(slot.value.load(std::memory_order_relaxed));
    waiting[static_cast<size_t>(value.reuse)]
           [static_cast<size_t>(reuse_age_bucket(at - value.used_at))] +=
        static_cast<float>(slots_count_) / static_cast<float>(looked_at);
  }
  return waiting;
}

// Of some found from a random place on.
UsageTable::Slot* UsageTable::least_worth() {
  const uint64_t start = mix64(shared_->draws.fetch_add(1)) & (slots_count_ - 1);
  const uint32_t at = now();
  Slot* least = nullptr;
  float least_worth = 0;
  Slot* oldest_new = nullptr;
  uint32_t oldest_age = 0;
  int seen = 0;
  for (uint64_t i = 0; i < slots_count_ && seen < kCandidates; ++i) {
    if (i >= kLongestScan && least != nullptr) break;
    Slot& slot = slots_[(start + i) & (slots_count_ - 1)];
    if (slot.id.load(std::memory_order_relaxed) == 0) continue;
    const Value value(slot.value.load(std::memory_order_relaxed));
    if (value.state != kOnDisk) continue;
    const uint32_t age = at - value.used_at;
    if (age <= shared_->capacity / kOneUseOfCapacity) {
      if (oldest_new == nullptr || age > oldest_age) {
        oldest_new = &slot;
        oldest_age = age;
      }
      continue;
    }
    ++seen;
    const float worth = density_.of(value.reuse, age);
    if (least == nullptr || worth < least_worth) {
      least = &slot;
      least_worth = worth;
    }
  }
  return least != nullptr ? least : oldest_new;
}

bool UsageTable::give_up_bytes(uint64_t bytes, std::vector<Block>& leaving) {
  for (uint64_t freed = 0; freed < bytes; freed += leaving.back().disk_bytes) {
    Slot* slot = least_worth();
    if (slot == nullptr) return false;
    leaving.push_back(give_up(*slot));
  }
  return true;
}

std::vector<UsageTable::Block> UsageTable::shrink(uint64_t limit_bytes) {
  const Lock lock(*this);
  learn();
  std::vector<Block> leaving;
  if (used_bytes() > limit_bytes) give_up_bytes(used_bytes() - limit_bytes, leaving);
  return leaving;
}

UsageTable::Room UsageTable::make_room(Block block,
                                       uint64_t limit_bytes,
                                       uint64_t free_more_bytes) {
  const Lock lock(*this);
  learn();
  Room room;
  if (block.disk_bytes > limit_bytes) return room;
  const uint64_t after = used_bytes() + block.disk_bytes;
  const uint64_t needed = std::max(after > limit_bytes ? after - limit_bytes : 0, free_more_bytes);
  if (!give_up_bytes(needed, room.leaving)) return room;
  insert(block, State::kWriting, room.leaving);
  const Slot* slot = find(block.id);
  room.granted =
      slot != nullptr && Value(slot->value.load(std::memory_order_relaxed)).state == kBeingWritten;
  return room;
}

void UsageTable::end_writing(uint64_t id, bool kept) {
  const Lock lock(*this);
  Slot* slot = find(id);
  if (slot == nullptr) return;
  Value value(slot->value.load(std::memory_order_relaxed));
  if (value.state != kBeingWritten) return;
  if (!kept) {
    give_up(*slot);
    return;
  }
  value.state = kOnDisk;
  slot->value.store(value.packed(), std::memory_order_relaxed);
}

std::vector<UsageTable::Block> UsageTable::use(Block block) {
  if (Slot* slot = find(block.id)) {
    uint64_t packed = slot->value.load(std::memory_order_relaxed);
    Value value(packed);
    if (value.state != kRemembered) {
      const uint32_t at = now();
      const uint32_t age = at - value.used_at;
      if (age <= shared_->capacity / kOneUseOfCapacity || value.state == kBeingWritten) {
        return {};
      }
      const int before = value.reuse;
      value.used_at = at;
      value.reuse = reuse_class(age, shared_->capacity);
      // Somebody else's change goes first; this was but a hint.
      if (slot->value.compare_exchange_strong(packed, value.packed(), std::memory_order_relaxed)) {
        if (is_in_sample(block.id)) shared_->reuse.count(before, age);
        shared_->clock_bytes.fetch_add(block.disk_bytes, std::memory_order_relaxed);
      }
      return {};
    }
  }
  return hold(block);
}

std::vector<UsageTable::Block> UsageTable::hold(Block block) {
  const Lock lock(*this);
  const Slot* slot = find(block.id);
  if (slot != nullptr) {
    const Value value(slot->value.load(std::memory_order_relaxed));
    if (value.state != kRemembered) return {};
  }
  std::vector<Block> leaving;
  insert(block, State::kHeld, leaving);
  return leaving;
}

void UsageTable::lose(uint64_t id) {
  const Slot* known = find(id);
  if (known == nullptr || Value(known->value.load(std::memory_order_relaxed)).state != kOnDisk) {
    return;
  }
  const Lock lock(*this);
  Slot* slot = find(id);
  if (slot != nullptr && Value(slot->value.load(std::memory_order_relaxed)).state == kOnDisk) {
    give_up(*slot);
  }
}

bool UsageTable::holds(uint64_t id) const {
  const Slot* slot = find(id);
  return slot != nullptr && Value(slot->value.load(std::memory_order_relaxed)).state == kOnDisk;
}

uint64_t UsageTable::used_bytes() const {
  return shared_->used_pages.load(std::memory_order_relaxed) * kPageBytes;
}

void UsageTable::for_each(int shard,
                          const std::function<void(uint64_t id, State state)>& visit) const {
  const uint64_t share = slots_count_ / 16;
  for (uint64_t i = 0; i < share; ++i) {
    const Slot& slot = slots_[static_cast<uint64_t>(shard) * share + i];
    const uint64_t id = slot.id.load(std::memory_order_acquire);
    const Value value(slot.value.load(std::memory_order_relaxed));
    if (id == 0 || value.state == kRemembered) continue;
    visit(id, value.state == kOnDisk ? State::kHeld : State::kWriting);
  }
}

void UsageTable::recount() {
  const Lock lock(*this);
  uint64_t pages = 0;
  for (uint64_t i = 0; i < slots_count_; ++i) {
    if (slots_[i].id.load(std::memory_order_relaxed) == 0) continue;
    const Value value(slots_[i].value.load(std::memory_order_relaxed));
    if (value.state != kRemembered) pages += value.pages;
  }
  shared_->used_pages.store(pages);
}

bool UsageTable::due(uint64_t now_ms, uint64_t interval_ms) {
  uint64_t last = shared_->recounted_at_ms.load();
  return (now_ms < last || now_ms - last >= interval_ms) &&
         shared_->recounted_at_ms.compare_exchange_strong(last, now_ms);
}

}  // namespace atl::storage
