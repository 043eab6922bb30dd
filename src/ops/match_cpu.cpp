// Matching candidates to ground truths on the CPU, without the IoU matrix: candidates are cut into
// tiles, and a tile's IoUs with one ground truth live in a small array on the stack.
//
// First pass: each candidate's best ground truth, and for each (tile, ground truth) the highest
// IoU. A ground truth that does not touch the box around a tile has IoU 0 with all of it and costs
// nothing. Second pass, for low-quality matches: the pairs whose tile holds the ground truth's
// overall highest IoU are computed again (the same function, so the same bits) to find the
// candidates that reach it.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "ops/kernels.h"
#include "ops/ops.h"

namespace atl::ops::cpu {
namespace {

constexpr int64_t kTile = 512;
constexpr int64_t kLanes = 16;

using TileValues = std::array<float, kTile>;

struct Box {
  float x1, y1, x2, y2, area;
};

struct Tile {
  alignas(64) TileValues x1, y1, x2, y2, area;
  Box bounds = {};
};

Box box_at(const float* boxes, int64_t index) {
  const float* box = boxes + 4 * index;
  return {box[0], box[1], box[2], box[3], (box[2] - box[0]) * (box[3] - box[1])};
}

// Filled up with copies of its last box, so that loops over a tile have a constant length.
void load_tile(const float* candidates, int64_t begin, int64_t end, Tile& tile) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  tile.bounds = {infinity, infinity, -infinity, -infinity, 0};
  for (int64_t i = 0; i < kTile; ++i) {
    const Box box = box_at(candidates, std::min(begin + i, end - 1));
    tile.x1[i] = box.x1;
    tile.y1[i] = box.y1;
    tile.x2[i] = box.x2;
    tile.y2[i] = box.y2;
    tile.area[i] = box.area;
    tile.bounds.x1 = std::min(tile.bounds.x1, box.x1);
    tile.bounds.y1 = std::min(tile.bounds.y1, box.y1);
    tile.bounds.x2 = std::max(tile.bounds.x2, box.x2);
    tile.bounds.y2 = std::max(tile.bounds.y2, box.y2);
  }
}

bool touches(const Tile& tile, const Box& truth) {
  return truth.x1 < tile.bounds.x2 && truth.x2 > tile.bounds.x1 && truth.y1 < tile.bounds.y2 &&
         truth.y2 > tile.bounds.y1;
}

// torchvision's box_iou, operation by operation. Two empty boxes (0 / 0) count as no overlap.
ATOLL_CLONES void tile_iou(const Tile& tile, const Box& truth, TileValues& iou) {
  for (int64_t i = 0; i < kTile; ++i) {
    const float width = std::min(tile.x2[i], truth.x2) - std::max(tile.x1[i], truth.x1);
    const float height = std::min(tile.y2[i], truth.y2) - std::max(tile.y1[i], truth.y1);
    const float intersection = (width > 0 ? width : 0) * (height > 0 ? height : 0);
    const float quotient = intersection / (truth.area + tile.area[i] - intersection);
    iou[i] = quotient == quotient ? quotient : 0;  // not NaN
  }
}

// Where the ground truth beats the best so far, it takes its place. Returns its highest IoU.
ATOLL_CLONES float update_best(const TileValues& iou,
                               int32_t truth,
                               TileValues& best,
                               std::array<int32_t, kTile>& best_truth) {
  float highest[kLanes] = {};
  for (int64_t i = 0; i < kTile; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const float value = iou[i + lane];
      best_truth[i + lane] = value > best[i + lane] ? truth : best_truth[i + lane];
      best[i + lane] = value > best[i + lane] ? value : best[i + lane];
      highest[lane] = value > highest[lane] ? value : highest[lane];
    }
  }
  return *std::max_element(highest, highest + kLanes);
}

struct Matching {
  std::span<const Box> truths;
  const float* candidates = nullptr;
  int64_t count = 0;
  float high = 0;
  float low = 0;

  int64_t tiles() const { return (count + kTile - 1) / kTile; }
  int64_t tile_end(int64_t tile) const { return std::min(count, (tile + 1) * kTile); }
};

// Writes the matches of one tile, each candidate's own best (for the second pass), and the
// highest IoU of every ground truth in the tile.
void match_tile(
    const Matching& matching, int64_t index, int64_t* matches, int32_t* own, float* highest) {
  Tile tile;
  const int64_t begin = index * kTile, end = matching.tile_end(index);
  load_tile(matching.candidates, begin, end, tile);
  alignas(64) TileValues iou, best = {};
  alignas(64) std::array<int32_t, kTile> best_truth = {};
  for (size_t g = 0; g < matching.truths.size(); ++g) {
    highest[g] = 0;
    if (!touches(tile, matching.truths[g])) continue;
    tile_iou(tile, matching.truths[g], iou);
    highest[g] = update_best(iou, static_cast<int32_t>(g), best, best_truth);
  }
  for (int64_t i = begin; i < end; ++i) {
    const float value = best[i - begin];
    own[i] = best_truth[i - begin];
    matches[i] = value < matching.low    ? kBelowLowThreshold
                 : value < matching.high ? kBetweenThresholds
                                         : own[i];
  }
}

void add_low_quality(const Matching& matching,
                     int64_t index,
                     std::span<const float> highest,
                     const float* tile_highest,
                     const int32_t* own,
                     int64_t* matches) {
  Tile tile;
  bool loaded = false;
  alignas(64) TileValues iou;
  const int64_t begin = index * kTile, end = matching.tile_end(index);
  for (size_t g = 0; g < highest.size(); ++g) {
    if (tile_highest[g] != highest[g]) continue;
    if (highest[g] == 0) {  // overlaps no candidate at all: all of them are its best
      std::copy(own + begin, own + end, matches + begin);
      return;
    }
    if (!loaded) load_tile(matching.candidates, begin, end, tile);
    loaded = true;
    tile_iou(tile, matching.truths[g], iou);
    for (int64_t i = begin; i < end; ++i) {
      if (iou[i - begin] == highest[g]) matches[i] = own[i];
    }
  }
}

}  // namespace

at::Tensor match_boxes(const at::Tensor& ground_truth,
                       const at::Tensor& candidates,
                       double high_threshold,
                       double low_threshold,
                       bool allow_low_quality) {
  at::Tensor result =
      at::full({candidates.size(0)}, kBelowLowThreshold, candidates.options().dtype(at::kLong));
  const int64_t truth_count = ground_truth.size(0);
  if (truth_count == 0 || candidates.size(0) == 0) return result;

  const at::Tensor dense_truth = ground_truth.contiguous();
  const at::Tensor dense_candidates = candidates.contiguous();
  std::vector<Box> truths(truth_count);
  for (int64_t g = 0; g < truth_count; ++g) {
    truths[g] = box_at(dense_truth.const_data_ptr<float>(), g);
  }
  const Matching matching = {truths,
                             dense_candidates.const_data_ptr<float>(),
                             candidates.size(0),
                             static_cast<float>(high_threshold),
                             static_cast<float>(low_threshold)};
  auto* matches = result.mutable_data_ptr<int64_t>();
  std::vector<int32_t> own(matching.count);
  std::vector<float> tile_highest(matching.tiles() * truth_count);
  at::parallel_for(0, matching.tiles(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      match_tile(matching, tile, matches, own.data(), tile_highest.data() + tile * truth_count);
    }
  });
  if (!allow_low_quality) return result;

  std::vector<float> highest(truth_count, 0.0F);
  for (int64_t tile = 0; tile < matching.tiles(); ++tile) {
    for (int64_t g = 0; g < truth_count; ++g) {
      highest[g] = std::max(highest[g], tile_highest[tile * truth_count + g]);
    }
  }
  at::parallel_for(0, matching.tiles(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      add_low_quality(
          matching, tile, highest, tile_highest.data() + tile * truth_count, own.data(), matches);
    }
  });
  return result;
}

}  // namespace atl::ops::cpu
