// Which anchors and boxes count in the losses. torchvision draws with a running generator; here a
// candidate's turn is the hash of (seed, step, image, purpose, its index), and the smallest hashes
// are taken, so that the choice does not depend on threads, ranks or restarts.
// reference/keyed_random.py does the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/mask_rcnn.h"

namespace atl::model {

enum class SamplingPurpose : uint64_t { kAnchors = 1, kBoxes = 2 };

struct Sample {
  std::vector<int64_t> positives;  // increasing
  std::vector<int64_t> negatives;  // increasing
};

// labels: > 0 positive, 0 negative, < 0 neither. At most count * positive_fraction positives,
// filled up to `count` with negatives, as torchvision's BalancedPositiveNegativeSampler.
Sample sample_balanced(std::span<const int64_t> labels,
                       int64_t count,
                       double positive_fraction,
                       SamplingKey key,
                       int64_t image_id,
                       SamplingPurpose purpose);

}  // namespace atl::model
