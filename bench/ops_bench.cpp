// How long do the operations of Mask R-CNN take on the CPU? Prints one JSON line: the fastest of
// the repetitions of each, in milliseconds. ops.py runs it beside torchvision.
//
// Features of an FPN for two images of 320 x 544 px, 256 channels; 512 boxes an image for the box
// head (7 x 7) and 128 for the mask head (14 x 14).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
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
const std::vector<double> kScales = {1.0 / 4, 1.0 / 8, 1.0 / 16, 1.0 / 32};

double fastest_ms(int repetitions, const std::function<void()>& body) {
  body();
  std::vector<double> times;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::sort(times.begin(), times.end());
  return times[0];
}

// Sides between 8 and 300 px, evenly in the logarithm; (count, 4).
Tensor random_boxes(int64_t count, uint64_t key) {
  Tensor boxes = at::empty({count, 4});
  auto* box = boxes.mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i, box += 4) {
    atl::KeyedRandom random({key, static_cast<uint64_t>(i)});
    const double x = random.uniform() * kWidth, y = random.uniform() * kHeight;
    const double w = 8 * std::pow(37.5, random.uniform()), h = 8 * std::pow(37.5, random.uniform());
    box[0] = static_cast<float>(std::max(0.0, x - w / 2));
    box[1] = static_cast<float>(std::max(0.0, y - h / 2));
    box[2] = static_cast<float>(std::min<double>(kWidth, x + w / 2));
    box[3] = static_cast<float>(std::min<double>(kHeight, y + h / 2));
  }
  return boxes;
}

double roi_align_ms(int64_t rois_an_image, int64_t pooled_size, int repetitions, bool backward) {
  std::vector<Tensor> features;
  for (int64_t level = 0; level < 4; ++level) {
    features.push_back(
        at::randn({kImages, kChannels, kHeight >> (2 + level), kWidth >> (2 + level)})
            .contiguous(at::MemoryFormat::ChannelsLast)
            .requires_grad_());
  }
  const Tensor boxes = random_boxes(kImages * rois_an_image, 1);
  const Tensor image = at::arange(kImages, at::kFloat).repeat_interleave(rois_an_image);
  const Tensor rois = at::cat({image.unsqueeze(1), boxes}, 1);
  const Tensor levels = atl::ops::assign_levels(boxes, 2, 5);
  const Tensor gradient = at::randn({boxes.size(0), kChannels, pooled_size, pooled_size})
                              .contiguous(at::MemoryFormat::ChannelsLast);
  return fastest_ms(repetitions, [&] {
    const Tensor pooled = atl::ops::roi_align(features, rois, levels, kScales, pooled_size, 2);
    if (!backward) return;
    pooled.backward(gradient);
    for (Tensor& feature : features) feature.mutable_grad().reset();
  });
}

double batched_nms_ms(int repetitions) {
  const Tensor boxes = random_boxes(4000, 2);
  const Tensor scores = at::rand({4000});
  const Tensor groups = at::arange(4000, at::kLong).remainder(4);
  return fastest_ms(repetitions, [&] { atl::ops::batched_nms(boxes, scores, groups, 0.7); });
}

double match_boxes_ms(int repetitions) {
  const Tensor truth = random_boxes(20, 3), anchors = random_boxes(50'000, 4);
  return fastest_ms(repetitions, [&] { atl::ops::match_boxes(truth, anchors, 0.7, 0.3, true); });
}

double paste_masks_ms(int repetitions) {
  const Tensor boxes = random_boxes(100, 5);
  const Tensor coarse = at::rand({100, 1, 4, 4});
  const Tensor masks = at::upsample_bilinear2d(coarse, {28, 28}, false).squeeze(1).contiguous();
  return fastest_ms(repetitions, [&] { atl::ops::paste_masks(masks, boxes, kHeight, kWidth); });
}

double mask_targets_ms(int repetitions) {
  // 20 masks, each the right half of the image, for 128 boxes.
  const auto half = static_cast<int32_t>(kHeight * kWidth / 2);
  const atl::ops::MaskRuns runs = {
      at::full({40}, half, at::kInt), at::arange(0, 41, 2, at::kLong), kHeight, kWidth};
  const Tensor boxes = random_boxes(128, 6);
  const Tensor index = at::arange(128, at::kLong).remainder(20);
  return fastest_ms(repetitions, [&] { atl::ops::mask_targets(runs, boxes, index, 28); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) at::set_num_threads(std::atoi(argv[1]));
  const std::vector<std::pair<std::string, double>> results = {
      {"roi_align_7x7_forward", roi_align_ms(512, 7, 15, false)},
      {"roi_align_7x7_forward_backward", roi_align_ms(512, 7, 15, true)},
      {"roi_align_14x14_forward", roi_align_ms(128, 14, 15, false)},
      {"roi_align_14x14_forward_backward", roi_align_ms(128, 14, 15, true)},
      {"batched_nms_4000", batched_nms_ms(15)},
      {"match_boxes_20x50000", match_boxes_ms(15)},
      {"paste_masks_100", paste_masks_ms(15)},
      {"mask_targets_128", mask_targets_ms(15)},
  };
  std::cout << "{\"threads\": " << at::get_num_threads();
  for (const auto& [name, ms] : results) std::cout << ", \"" << name << "_ms\": " << ms;
  std::cout << "}\n";
}
