// What a sample of a batch is to be, from the annotations alone: its size, window, mirroring,
// colours, and what is pasted over it. Private to this room; its targets are targets.h's, its pixels
// sample_reader.h's.
#pragma once

#include <vector>

#include "base/keyed_random.h"
#include "dataset/loader.h"

namespace atl::dataset {

// Immutable; any number of threads may plan. The dataset must outlive it.
class SamplePlanner {
 public:
  SamplePlanner(const CocoDataset& dataset, const LoaderOptions& options);

  // Everything that is known before a file is read. A pure function of the seed, the epoch, the
  // image and, where something is pasted, the dataset.
  Sample plan(int64_t image_index, int64_t epoch) const;

 private:
  KeyedRandom random_for(uint64_t purpose, int64_t epoch, int64_t image_id) const;
  ImageSize scaled_size(ImageSize original, KeyedRandom& random) const;
  ColourTransform colour(KeyedRandom& random) const;
  void crop(Sample& sample, KeyedRandom random) const;
  void add_paste(Sample& sample, KeyedRandom random) const;

  const CocoDataset& dataset_;
  LoaderOptions options_;
  std::vector<int64_t> paste_sources_;  // images with something to paste, in increasing order
};

}  // namespace atl::dataset
