// The order in which training sees the images: a pure function of (seed, epoch, images), the same
// for any number of threads, ranks or restarts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataset/image.h"

namespace atl::dataset {

struct SamplerOptions {
  uint64_t seed = 0;
  int global_batch = 8;
  bool shuffle = true;
  // Batches hold only landscape or only portrait images, so that padding is small.
  bool group_by_aspect = true;
};

// Batches of image indices for global step 0, 1, 2, …: step s of epoch e is batch s mod
// batches_per_epoch(). Every image comes once an epoch; where the number of images does not divide,
// a group's last batch is filled up with images from its beginning (padding_per_epoch() of them),
// round and round if the group is smaller than a batch. Without shuffling, the images come in
// order, with groups: first the landscape ones (squares included), then the portrait ones.
class Sampler {
 public:
  // sizes: of every image that takes part, by position; at least one.
  Sampler(std::vector<ImageSize> sizes, SamplerOptions options);

  int64_t batches_per_epoch() const { return batches_per_epoch_; }
  int64_t padding_per_epoch() const { return padding_per_epoch_; }
  int64_t epoch_of(int64_t step) const { return step / batches_per_epoch_; }
  // global_batch positions. Cheap for consecutive steps (one epoch's order is kept); not thread
  // safe.
  std::vector<int64_t> batch(int64_t step);

 private:
  void make_epoch(int64_t epoch);

  SamplerOptions options_;
  std::vector<std::vector<int64_t>> groups_;  // positions, in increasing order
  int64_t batches_per_epoch_ = 0;
  int64_t padding_per_epoch_ = 0;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // batches_per_epoch * global_batch positions
};

}  // namespace atl::dataset
