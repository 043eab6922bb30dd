// How this room reads and writes runs; internal to the rle*.cpp files.
#pragma once

#include <cstdint>
#include <vector>

#include "dataset/rle.h"

namespace atl::dataset::internal {

// Appends foreground runs in increasing order, joins those that touch and skips empty ones, so that
// what comes out is canonical.
class RunWriter {
 public:
  explicit RunWriter(std::vector<uint32_t>& counts) : counts_(counts) {}

  void foreground(uint64_t begin, uint64_t end) {
    if (begin == end) return;
    if (begin == last_ && !counts_.empty()) {
      counts_.back() += static_cast<uint32_t>(end - begin);
    } else {
      counts_.push_back(static_cast<uint32_t>(begin - last_));
      counts_.push_back(static_cast<uint32_t>(end - begin));
    }
    last_ = end;
  }
  void finish(uint64_t pixel_count) {
    if (last_ < pixel_count || counts_.empty()) {
      counts_.push_back(static_cast<uint32_t>(pixel_count - last_));
    }
  }

 private:
  std::vector<uint32_t>& counts_;
  uint64_t last_ = 0;
};

// Walks the foreground runs that are not empty: [begin, end), in increasing order.
class ForegroundRuns {
 public:
  explicit ForegroundRuns(const Rle& rle) : counts_(rle.counts) { next(); }

  bool done() const { return done_; }
  uint64_t begin() const { return begin_; }
  uint64_t end() const { return end_; }
  void next() {
    while (index_ + 1 < counts_.size()) {
      begin_ = end_ + counts_[index_];
      end_ = begin_ + counts_[index_ + 1];
      index_ += 2;
      if (end_ > begin_) return;
    }
    done_ = true;
  }

 private:
  const std::vector<uint32_t>& counts_;
  size_t index_ = 0;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  bool done_ = false;
};

// A foreground run inside one column.
struct ColumnRun {
  uint32_t column;
  uint32_t begin;
  uint32_t end;
};
std::vector<ColumnRun> split_by_column(const Rle& rle);

}  // namespace atl::dataset::internal
