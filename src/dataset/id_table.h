// A set of ids with a number for each, in one array: of a million ids every lookup is one miss of
// the cache, where a node-based map has two or three.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/keyed_random.h"

namespace atl::dataset {

class IdTable {
 public:
  // Room for so many without growing.
  void reserve(size_t count) {
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    if (slots > slots_.size()) grow(slots);
  }
  // False: the id was there already, and keeps its value.
  bool insert(int64_t id, uint32_t value) {
    if (2 * (size_ + 1) > slots_.size()) grow(slots_.empty() ? 16 : 2 * slots_.size());
    Slot& slot = slots_[slot_of(id)];
    if (slot.used) return false;
    slot = {id, value, true};
    ++size_;
    return true;
  }
  std::optional<uint32_t> find(int64_t id) const {
    if (slots_.empty()) return std::nullopt;
    const Slot& slot = slots_[slot_of(id)];
    return slot.used ? std::optional(slot.value) : std::nullopt;
  }
  bool contains(int64_t id) const { return find(id).has_value(); }

 private:
  struct Slot {
    int64_t id = 0;
    uint32_t value = 0;
    bool used = false;
  };

  // Where the id is, or would be.
  size_t slot_of(int64_t id) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = mix64(static_cast<uint64_t>(id)) & mask;
    while (slots_[slot].used && slots_[slot].id != id) slot = (slot + 1) & mask;
    return slot;
  }
  void grow(size_t slots) {
    std::vector<Slot> old(slots);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.used) slots_[slot_of(slot.id)] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

}  // namespace atl::dataset
