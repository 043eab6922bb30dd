// One side of the comparison of single operations, driven by bench/ops.py, which has torchvision
// do the same work on the same values in turn.
//
//   ops_bench THREADS
//
// Protocol on stdin / stdout: the name of an operation -> {"ms": t, "check": x}, or {} for a name
// that is not known. t is the mean of so many repetitions that they take some milliseconds; x is
// the sum of the result. End of input ends it.
//
// Features are those of an FPN for two images of 320 x 544 px, 256 channels; 512 boxes an image for
// the box head (7 x 7) and 128 for the mask head (14 x 14). Masks are pasted into 480 x 640 px.
// Boxes are keyed, everything else is drawn from torch's generator with kSeed: both sides see the
// same.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "base/keyed_random.h"
#include "ops/ops.h"

namespace {

using at::Tensor;

constexpr int64_t kHeight = 320;
constexpr int64_t kWidth = 544;
constexpr int64_t kImages = 2;
constexpr int64_t kChannels = 256;
constexpr uint64_t kSeed = 1;
constexpr double kBatch_ms = 10;
const std::vector<double> kScales = {1.0 / 4, 1.0 / 8, 1.0 / 16, 1.0 / 32};

// Gives the result; what it works on was made before.
using Work = std::function<Tensor()>;

// Sides between 8 and 300 px, evenly in the logarithm; (count, 4).
Tensor random_boxes(int64_t count, uint64_t key, int64_t height, int64_t width) {
  Tensor boxes = at::empty({count, 4});
  auto* box = boxes.mutable_data_ptr<float>();
  const auto inside = [](double value, int64_t size) {
    return static_cast<float>(std::clamp(value, 0.0, static_cast<double>(size)));
  };
  for (int64_t i = 0; i < count; ++i, box += 4) {
    atl::KeyedRandom random({key, static_cast<uint64_t>(i)});
    const double x = random.uniform() * static_cast<double>(width);
    const double y = random.uniform() * static_cast<double>(height);
    const double w = 8 * std::pow(37.5, random.uniform()), h = 8 * std::pow(37.5, random.uniform());
    box[0] = inside(x - w / 2, width);
    box[1] = inside(y - h / 2, height);
    box[2] = inside(x + w / 2, width);
    box[3] = inside(y + h / 2, height);
  }
  return boxes;
}

Work roi_align(int64_t rois_an_image, int64_t pooled_size, bool backward) {
  std::vector<Tensor> features;
  for (int64_t level = 0; level < 4; ++level) {
    features.push_back(
        at::randn({kImages, kChannels, kHeight >> (2 + level), kWidth >> (2 + level)})
            .contiguous(at::MemoryFormat::ChannelsLast)
            .requires_grad_(backward));
  }
  const Tensor boxes = random_boxes(kImages * rois_an_image, 1, kHeight, kWidth);
  const Tensor gradient = at::randn({boxes.size(0), kChannels, pooled_size, pooled_size})
                              .contiguous(at::MemoryFormat::ChannelsLast);
  return [=]() mutable {
    const Tensor image = at::arange(kImages, at::kFloat).repeat_interleave(rois_an_image);
    const Tensor rois = at::cat({image.unsqueeze(1), boxes}, 1);
    const Tensor levels = atl::ops::assign_levels(boxes, 2, 5);
    Tensor pooled = atl::ops::roi_align(features, rois, levels, kScales, pooled_size, 2);
    if (!backward) return pooled;
    for (Tensor& feature : features) feature.mutable_grad().reset();
    pooled.backward(gradient);
    return features.front().grad();
  };
}

Work batched_nms() {
  const Tensor boxes = random_boxes(4000, 2, kHeight, kWidth);
  const Tensor scores = at::rand({4000});
  const Tensor groups = at::arange(4000, at::kLong).remainder(4);
  return [=] { return atl::ops::batched_nms(boxes, scores, groups, 0.7); };
}

Work match_boxes() {
  const Tensor truth = random_boxes(20, 3, kHeight, kWidth);
  const Tensor anchors = random_boxes(50'000, 4, kHeight, kWidth);
  return [=] { return atl::ops::match_boxes(truth, anchors, 0.7, 0.3, true); };
}

// Runs of 100 masks; their pixels are the check.
Work paste_masks() {
  const Tensor boxes = random_boxes(100, 5, 480, 640);
  const Tensor coarse = at::rand({100, 1, 4, 4});
  const Tensor masks = at::upsample_bilinear2d(coarse, {28, 28}, false).squeeze(1).contiguous();
  return [=] {
    int64_t area = 0;
    for (const auto& mask : atl::ops::paste_masks(masks, boxes, 480, 640)) {
      for (size_t run = 1; run < mask.counts.size(); run += 2) area += mask.counts[run];
    }
    return at::scalar_tensor(area, at::kLong);
  };
}

// 20 masks, each the right half of the image, for 128 boxes.
Work mask_targets() {
  const auto half = static_cast<int32_t>(kHeight * kWidth / 2);
  const atl::ops::MaskRuns runs = {
      at::full({40}, half, at::kInt), at::arange(0, 41, 2, at::kLong), kHeight, kWidth};
  const Tensor boxes = random_boxes(128, 6, kHeight, kWidth);
  const Tensor index = at::arange(128, at::kLong).remainder(20);
  return [=] { return atl::ops::mask_targets(runs, boxes, index, 28); };
}

double milliseconds(const Work& work, int repetitions) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repetitions; ++i) work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
             .count() /
         repetitions;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) at::set_num_threads(std::atoi(argv[1]));
  const std::map<std::string, std::function<Work()>> makers = {
      {"roi_align_7x7", [] { return roi_align(512, 7, false); }},
      {"roi_align_7x7_and_backward", [] { return roi_align(512, 7, true); }},
      {"roi_align_14x14", [] { return roi_align(128, 14, false); }},
      {"roi_align_14x14_and_backward", [] { return roi_align(128, 14, true); }},
      {"batched_nms_4000", batched_nms},
      {"match_boxes_20x50000", match_boxes},
      {"paste_masks_100", paste_masks},
      {"mask_targets_128", mask_targets},
  };
  std::string name;
  std::string made;
  Work work;
  while (std::getline(std::cin, name)) {
    const auto maker = makers.find(name);
    if (maker == makers.end()) {
      std::cout << "{}" << std::endl;
      continue;
    }
    if (name != made) {
      at::manual_seed(kSeed);
      work = maker->second();
      made = name;
    }
    const double check = work().to(at::kDouble).sum().item<double>();
    const int repetitions = 1 + static_cast<int>(kBatch_ms / milliseconds(work, 1));
    std::cout << std::setprecision(12) << "{\"ms\": " << milliseconds(work, repetitions)
              << ", \"check\": " << check << "}" << std::endl;
  }
}
