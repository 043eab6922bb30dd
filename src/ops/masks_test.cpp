// Mask targets and pasted masks: kernels against the plain tensor code.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "dataset/rle.h"
#include "ops/ops.h"
#include "ops/reference.h"

namespace atl::ops {
namespace {

using at::Tensor;

Tensor random_boxes(int64_t count, double width, double height) {
  const Tensor size = at::tensor({width, height}, at::kFloat);
  const Tensor centre = (at::rand({count, 2}) * 1.4 - 0.2) * size;
  const Tensor half = at::rand({count, 2}).pow(2) * size * 0.7;
  return at::cat({centre - half, centre + half}, 1);
}

MaskRuns as_runs(const Tensor& bitmaps) {
  const int64_t height = bitmaps.size(1), width = bitmaps.size(2);
  std::vector<int32_t> counts;
  std::vector<int64_t> offsets = {0};
  for (int64_t g = 0; g < bitmaps.size(0); ++g) {
    const Tensor pixels = bitmaps[g].t().contiguous().to(at::kByte);
    const auto rle = dataset::rle_from_bitmap(
        {pixels.const_data_ptr<uint8_t>(), static_cast<size_t>(pixels.numel())},
        static_cast<uint32_t>(height),
        static_cast<uint32_t>(width));
    counts.insert(counts.end(), rle.counts.begin(), rle.counts.end());
    offsets.push_back(static_cast<int64_t>(counts.size()));
  }
  return {at::tensor(counts, at::kInt), at::tensor(offsets, at::kLong), height, width};
}

// Smooth blobs, and noise.
Tensor random_bitmaps(int64_t count, int64_t height, int64_t width) {
  const Tensor coarse = at::rand({count, 1, 5, 5});
  Tensor bitmaps = at::upsample_bilinear2d(coarse, {height, width}, false).squeeze(1) > 0.5;
  bitmaps[0].copy_(at::rand({height, width}) > 0.5);
  bitmaps[1].fill_(true);
  bitmaps[2].fill_(false);
  return bitmaps;
}

TEST(MaskTargets, the_kernel_agrees_with_the_plain_code) {
  at::manual_seed(1);
  for (const auto& [height, width, size] : {std::tuple(61, 83, 28),
                                            std::tuple(150, 90, 14),
                                            std::tuple(3, 2, 28),
                                            std::tuple(40, 1, 7)}) {
    const MaskRuns runs = as_runs(random_bitmaps(6, height, width));
    Tensor boxes = random_boxes(60, width, height);
    boxes[0].copy_(at::tensor({5.0F, 5.0F, 5.001F, 5.001F}));
    boxes[1].copy_(at::tensor({-90.0F, -80.0F, -70.0F, -60.0F}));
    boxes[2].copy_(at::tensor({-20.0F, -30.0F, 400.0F, 300.0F}));
    const Tensor index = at::randint(6, {60}, at::kLong);
    const Tensor kernel = mask_targets(runs, boxes, index, size);
    EXPECT_TRUE(at::allclose(kernel, reference::mask_targets(runs, boxes, index, size), 0, 2e-6))
        << height << " x " << width << ", " << size;
  }
}

TEST(MaskTargets, a_full_mask_gives_ones_inside_and_zeros_outside) {
  const MaskRuns full = {at::tensor({0, 2000}, at::kInt), at::tensor({0, 2}, at::kLong), 40, 50};
  const Tensor boxes =
      at::tensor({10.0F, 10.0F, 30.0F, 30.0F, 100.0F, 100.0F, 120.0F, 120.0F}).view({2, 4});
  const Tensor targets = mask_targets(full, boxes, at::zeros({2}, at::kLong), 14);
  EXPECT_TRUE(at::allclose(targets[0], at::ones({14, 14})));
  EXPECT_TRUE(at::equal(targets[1], at::zeros({14, 14})));
}

TEST(MaskTargets, no_boxes_and_no_masks_give_an_empty_result) {
  const MaskRuns none = {at::zeros({0}, at::kInt), at::zeros({1}, at::kLong), 40, 50};
  EXPECT_EQ(mask_targets(none, at::zeros({0, 4}), at::zeros({0}, at::kLong), 28).sizes(),
            at::IntArrayRef({0, 28, 28}));
}

TEST(MaskTargets, runs_that_do_not_fit_are_refused_by_name) {
  const auto message = [](const MaskRuns& runs, int64_t index) -> std::string {
    try {
      mask_targets(runs,
                   at::tensor({0.0F, 0.0F, 5.0F, 5.0F}).view({1, 4}),
                   at::full({1}, index, at::kLong),
                   14);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  const MaskRuns short_runs = {
      at::tensor({5, 90}, at::kInt), at::tensor({0, 2}, at::kLong), 10, 10};
  EXPECT_THAT(message(short_runs, 0), testing::HasSubstr("runs of mask 0 cover 95 px of 10 x 10"));
  const MaskRuns good = {at::tensor({5, 95}, at::kInt), at::tensor({0, 2}, at::kLong), 10, 10};
  EXPECT_THAT(message(good, 1), testing::HasSubstr("box 0 wants mask 1 of 1"));
}

TEST(PasteMasks, the_kernel_gives_the_pixels_of_the_plain_code) {
  at::manual_seed(2);
  for (int round = 0; round < 40; ++round) {
    const int64_t size = round % 2 == 0 ? 28 : 7;
    const int64_t height = 20 + 9 * round, width = 200 - 4 * round;
    const int64_t count = 8;
    Tensor masks = at::rand({count, size, size});
    // Saturated masks put many pixels at exactly the threshold.
    if (round % 3 == 0) masks = masks.round();
    const Tensor boxes = random_boxes(count, width, height);
    boxes[0].copy_(at::tensor({3.2F, 4.7F, 3.9F, 5.1F}));
    boxes[1].copy_(at::tensor({-900.0F, -800.0F, -700.0F, -600.0F}));
    const auto kernel = paste_masks(masks, boxes, height, width);
    const auto plain = reference::paste_masks(masks, boxes, height, width, 0.5);
    ASSERT_EQ(kernel.size(), plain.size());
    for (size_t d = 0; d < kernel.size(); ++d) {
      EXPECT_EQ(kernel[d].counts, plain[d].counts) << "round " << round << ", detection " << d;
    }
  }
}

// A property over random cases: masks of any size M, boxes inside, partly and wholly outside, of no
// size, of a pixel, of many times the image, on whole and broken pixels; thresholds that many values
// meet exactly.
TEST(PasteMasks, are_what_pasting_into_a_bitmap_and_encoding_it_gives) {
  at::manual_seed(3);
  const auto drawn = [](int64_t low, int64_t high) {
    return at::randint(low, high, {1}, at::kLong).item<int64_t>();
  };
  int64_t set_pixels = 0;
  int64_t cut_off = 0;
  for (int round = 0; round < 150; ++round) {
    const int64_t size = drawn(1, 33), height = drawn(1, 130), width = drawn(1, 130), count = 6;
    const double levels = std::array{1.0, 4.0, 16.0, 1e6}[drawn(0, 4)];
    const Tensor masks = (at::rand({count, size, size}) * levels).round() / levels;
    const double threshold = std::array{0.0, 0.25, 0.5, 0.75, 1.0}[drawn(0, 5)];
    Tensor boxes = random_boxes(count, width, height);
    const Tensor corner = (at::rand({2}) * 1.2 - 0.1) * at::tensor({width, height});
    boxes[0].copy_(at::cat({corner, corner + 1}));                  // a pixel
    boxes[1].copy_(at::cat({corner.floor(), corner.floor() + 1}));  // a whole one
    boxes[2].copy_(at::cat({corner, corner}));                      // nothing
    boxes[3].copy_(boxes[3] * static_cast<double>(drawn(2, 9)));    // large
    boxes[4].copy_(boxes[4].round());
    const auto kernel = paste_masks(masks, boxes, height, width, threshold);
    const auto plain = reference::paste_masks(masks, boxes, height, width, threshold);
    ASSERT_EQ(kernel.size(), plain.size());
    for (size_t d = 0; d < kernel.size(); ++d) {
      EXPECT_EQ(kernel[d].counts, plain[d].counts)
          << "round " << round << ": " << size << " cells on " << boxes[static_cast<int64_t>(d)]
          << " of " << height << " x " << width << " > " << threshold;
      for (size_t run = 1; run < plain[d].counts.size(); run += 2)
        set_pixels += plain[d].counts[run];
      cut_off += plain[d].counts.size() == 1 ? 1 : 0;
    }
  }
  EXPECT_GT(set_pixels, 100'000);
  EXPECT_GT(cut_off, 20) << "too few boxes outside";
  EXPECT_LT(cut_off, 600) << "too few boxes inside";
}

TEST(PasteMasks, a_box_that_is_not_a_number_has_no_pixels) {
  Tensor boxes = at::tensor({1.0F, 1.0F, 9.0F, 9.0F}).repeat({5, 1});
  for (int64_t corner = 0; corner < 4; ++corner) boxes[corner + 1][corner].fill_(NAN);
  const auto pasted = paste_masks(at::ones({5, 28, 28}), boxes, 30, 20);
  EXPECT_GT(pasted[0].counts.size(), 1U);
  for (size_t d = 1; d < pasted.size(); ++d) {
    EXPECT_THAT(pasted[d].counts, testing::ElementsAre(600)) << d;
  }
}

TEST(PasteMasks, boxes_of_any_size_cost_only_the_image) {
  const Tensor boxes =
      at::tensor({-1e9F, -1e9F, 1e9F, 1e9F, 1e30F, 1e30F, 2e30F, 2e30F}).view({2, 4});
  const auto pasted = paste_masks(at::ones({2, 28, 28}), boxes, 30, 20);
  EXPECT_THAT(pasted[0].counts, testing::ElementsAre(0, 600));
  EXPECT_THAT(pasted[1].counts, testing::ElementsAre(600));
}

TEST(PasteMasks, no_detections_give_no_masks) {
  EXPECT_TRUE(paste_masks(at::zeros({0, 28, 28}), at::zeros({0, 4}), 30, 20).empty());
}

}  // namespace
}  // namespace atl::ops
