// Sets of ids, for the millions of lookups when a dataset is built. Ids are mostly small, so they
// are places in an array; whatever is large or negative (COCO's crowds have ids like 900100000001)
// goes into a map.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace atl::dataset {

// Ids with a number for each.
class IdTable {
 public:
  // False: the id was there already, and keeps its value. `value` is below 2^32 - 1.
  bool insert(int64_t id, uint32_t value) {
    if (!is_small(id)) return large_.emplace(id, value).second;
    const auto place = static_cast<size_t>(id);
    if (place >= small_.size()) small_.resize(2 * place + 1);
    if (small_[place] != 0) return false;
    small_[place] = value + 1;
    return true;
  }
  std::optional<uint32_t> find(int64_t id) const {
    if (is_small(id)) {
      const auto place = static_cast<size_t>(id);
      if (place >= small_.size() || small_[place] == 0) return std::nullopt;
      return small_[place] - 1;
    }
    const auto found = large_.find(id);
    return found == large_.end() ? std::nullopt : std::optional(found->second);
  }
  bool contains(int64_t id) const { return find(id).has_value(); }

 private:
  static bool is_small(int64_t id) { return id >= 0 && id < (int64_t{1} << 22); }

  std::vector<uint32_t> small_;  // value + 1; 0: not there
  std::unordered_map<int64_t, uint32_t> large_;
};

class IdSet {
 public:
  // False: it was there already.
  bool insert(int64_t id) {
    if (!is_small(id)) return large_.insert(id).second;
    const auto place = static_cast<size_t>(id) / 64;
    if (place >= small_.size()) small_.resize(2 * place + 1);
    const uint64_t bit = uint64_t{1} << (id % 64);
    const bool is_new = (small_[place] & bit) == 0;
    small_[place] |= bit;
    return is_new;
  }
  bool contains(int64_t id) const {
    if (!is_small(id)) return large_.contains(id);
    const auto place = static_cast<size_t>(id) / 64;
    return place < small_.size() && (small_[place] >> (id % 64) & 1) != 0;
  }

 private:
  static bool is_small(int64_t id) { return id >= 0 && id < (int64_t{1} << 26); }

  std::vector<uint64_t> small_;  // a bit for each id
  std::unordered_set<int64_t> large_;
};

}  // namespace atl::dataset
