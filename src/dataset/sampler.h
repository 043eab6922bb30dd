// The order in which training sees the images: a pure function of (seed, epoch, images), the same
// for any number of threads, ranks or restarts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataset/coco.h"
#include "dataset/image.h"

namespace atl::dataset {

struct SamplerOptions {
  uint64_t seed = 0;
  int global_batch = 8;
  bool shuffle = true;
  // Batches hold only landscape or only portrait images, so that padding is small.
  bool group_by_aspect = true;
};

// How often images with rare categories come (Gupta, Dollár, Girshick: LVIS, 2019, section 5.2):
//   f(c) = share of the images that hold an object of category c
//   r(c) = max(1, sqrt(threshold / f(c)))
//   r(i) = max over the categories in image i of r(c); 1 where there are none
// Crowds do not count, since nothing is trained on them. images: indices of the dataset; the result
// stands in their order. threshold 0 gives 1 for all; LVIS uses 0.001.
std::vector<double> repeat_factors(const CocoDataset& dataset,
                                   std::span<const int64_t> images,
                                   double threshold);

// The part [begin, end) of a batch that belongs to a rank: contiguous, in order of the ranks, and
// as even as can be (shares differ by one image at most; where world_size is greater than the
// batch, some are empty). The batch does not depend on the ranks, so any number of them goes
// through the same images in the same steps.
struct BatchShare {
  int64_t begin = 0;
  int64_t end = 0;
};
BatchShare share_of_batch(int64_t batch_size, int rank, int world_size);

// Batches of image positions for global step 0, 1, 2, …: step s of epoch e is batch s mod
// batches_per_epoch(). Every image comes once an epoch, or with repeat factors floor(r) or ceil(r)
// times, r on average over the epochs. Where the number of draws does not divide, a group's last
// batch is filled up with images from its beginning, round and round if the group is smaller than a
// batch. Without shuffling, the images come in order, with groups: first the landscape ones
// (squares included), then the portrait ones.
class Sampler {
 public:
  // sizes: of every image that takes part, by position; at least one. repeats: as many factors >= 1
  // (kept to 2^-32), or none, which is 1 for all.
  Sampler(std::vector<ImageSize> sizes,
          SamplerOptions options,
          std::span<const double> repeats = {});

  int64_t batches_per_epoch() const { return batches_per_epoch_; }
  // Images that fill up the last batches. With fractional repeat factors, an epoch may have one
  // more in each of the two groups.
  int64_t padding_per_epoch() const { return padding_per_epoch_; }
  int64_t epoch_of(int64_t step) const { return step / batches_per_epoch_; }
  // global_batch positions. Cheap for consecutive steps (one epoch's order is kept); not thread
  // safe.
  std::vector<int64_t> batch(int64_t step);
  // The positions of batch(step) that are the rank's, by share_of_batch.
  std::vector<int64_t> batch(int64_t step, int rank, int world_size);

 private:
  // Images of one aspect.
  struct Group {
    std::vector<int64_t> positions;  // in increasing order
    int64_t batches = 0;
  };
  // Which draw of an image it is: 0, 1, … within an epoch.
  struct Draw {
    int64_t position = 0;
    uint64_t repetition = 0;
  };

  uint64_t repeats_of(int64_t position) const;
  int64_t draws_of(const Group& group) const;
  std::vector<Draw> draws(const Group& group, int64_t epoch) const;
  void make_epoch(int64_t epoch);

  SamplerOptions options_;
  std::vector<uint64_t> repeats_;  // by position, in units of 2^-32; empty: 1 each
  std::vector<Group> groups_;
  int64_t batches_per_epoch_ = 0;
  int64_t padding_per_epoch_ = 0;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // batches_per_epoch * global_batch positions
};

}  // namespace atl::dataset
