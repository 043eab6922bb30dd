// Suppression and matching: kernels against the plain tensor code, and what they promise.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <fstream>
#include <string>

#include "ops/ops.h"
#include "ops/reference.h"

namespace atl::ops {
namespace {

using at::Tensor;

// Rounded to `grid` pixels: coarse grids make equal and touching boxes, empty ones, too.
Tensor random_boxes(int64_t count, double side, double grid) {
  const Tensor corner = at::rand({count, 2}) * side;
  const Tensor size = at::rand({count, 2}).square() * side / 2;
  return (at::cat({corner, corner + size}, 1) / grid).round() * grid;
}

TEST(BatchedNms, the_kernel_keeps_what_the_plain_code_keeps) {
  at::manual_seed(1);
  for (const double grid : {4.0, 1.0, 1e-3}) {
    for (const double threshold : {0.0, 0.3, 0.5, 0.7, 1.0}) {
      const Tensor boxes = random_boxes(250, 100, grid);
      const Tensor scores = (at::rand({250}) * 50).round() / 50 - 0.5;
      const Tensor groups = at::randint(-1, 3, {250}, at::kLong);
      EXPECT_TRUE(at::equal(batched_nms(boxes, scores, groups, threshold),
                            reference::batched_nms(boxes, scores, groups, threshold)))
          << grid << " " << threshold;
    }
  }
}

TEST(BatchedNms, groups_far_apart_in_number_do_not_suppress_each_other) {
  const Tensor boxes = at::tensor({0.0F, 0.0F, 10.0F, 10.0F}).repeat({3, 1});
  const Tensor scores = at::tensor({0.5F, 0.9F, 0.7F});
  const Tensor groups = at::tensor({int64_t{1} << 60, int64_t{0}, int64_t{1} << 60});
  EXPECT_TRUE(at::equal(batched_nms(boxes, scores, groups, 0.5), at::tensor({1, 2}, at::kLong)));
}

TEST(BatchedNms, equal_scores_keep_the_lower_index_first) {
  const Tensor apart = at::arange(40, at::kFloat).view({10, 4});
  const Tensor kept = batched_nms(apart, at::full({10}, 0.5F), at::zeros({10}, at::kLong), 0.99);
  EXPECT_TRUE(at::equal(kept, at::arange(10, at::kLong)));
}

TEST(BatchedNms, scores_that_are_not_numbers_do_no_harm) {
  const Tensor boxes = random_boxes(100, 100, 1);
  const Tensor scores = at::full({100}, NAN);
  EXPECT_GT(batched_nms(boxes, scores, at::zeros({100}, at::kLong), 0.5).size(0), 0);
}

TEST(BatchedNms, nothing_in_nothing_out) {
  EXPECT_EQ(batched_nms(at::zeros({0, 4}), at::zeros({0}), at::zeros({0}, at::kLong), 0.5).size(0),
            0);
}

TEST(MatchBoxes, the_kernel_matches_what_the_plain_code_matches) {
  at::manual_seed(2);
  for (int round = 0; round < 30; ++round) {
    const double grid = round % 3 == 0 ? 8.0 : round % 3 == 1 ? 1.0 : 1e-3;
    const Tensor truth = random_boxes(1 + round % 40, 200, grid);
    const Tensor candidates = random_boxes(1 + 137 * round, 200, grid);
    for (const bool low_quality : {false, true}) {
      EXPECT_TRUE(at::equal(match_boxes(truth, candidates, 0.7, 0.3, low_quality),
                            reference::match_boxes(truth, candidates, 0.7, 0.3, low_quality)))
          << "round " << round << (low_quality ? " with" : " without") << " low quality";
    }
  }
}

TEST(MatchBoxes, a_ground_truth_that_nothing_touches_makes_every_candidate_its_best) {
  const Tensor truth = at::tensor({500.0F, 500.0F, 510.0F, 510.0F}).view({1, 4});
  const Tensor candidates = random_boxes(1500, 100, 1);
  EXPECT_TRUE(
      at::equal(match_boxes(truth, candidates, 0.7, 0.3, true), at::zeros({1500}, at::kLong)));
  EXPECT_TRUE(at::equal(match_boxes(truth, candidates, 0.7, 0.3, false),
                        at::full({1500}, kBelowLowThreshold, at::kLong)));
}

TEST(MatchBoxes, without_ground_truths_or_candidates_nothing_matches) {
  EXPECT_TRUE(at::equal(match_boxes(at::zeros({0, 4}), random_boxes(9, 50, 1), 0.5, 0.5, true),
                        at::full({9}, kBelowLowThreshold, at::kLong)));
  EXPECT_EQ(match_boxes(random_boxes(3, 50, 1), at::zeros({0, 4}), 0.5, 0.5, true).size(0), 0);
}

TEST(MatchBoxes, threads_change_nothing) {
  at::manual_seed(3);
  const int before = at::get_num_threads();
  const Tensor truth = random_boxes(50, 300, 1), candidates = random_boxes(9000, 300, 1);
  at::set_num_threads(1);
  const Tensor one = match_boxes(truth, candidates, 0.7, 0.3, true);
  for (const int threads : {2, 3, 7}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(match_boxes(truth, candidates, 0.7, 0.3, true), one));
  }
  at::set_num_threads(before);
}

int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  }
  throw std::runtime_error("no " + key + " in /proc/self/status");
}

// The peak of the resident memory from now on; false where the kernel does not let us reset it.
bool reset_peak() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5" << std::flush;
  return static_cast<bool>(clear);
}

TEST(MatchBoxes, many_objects_and_anchors_take_little_memory) {
  // The full matrix would be 500 MB.
  const Tensor truth = random_boxes(500, 1000, 1), candidates = random_boxes(250'000, 1000, 1);
  match_boxes(truth, candidates.slice(0, 0, 5000), 0.7, 0.3, true);  // threads start
  malloc_trim(0);
  if (!reset_peak()) GTEST_SKIP() << "the peak of resident memory cannot be reset here";
  const int64_t before = status_bytes("VmRSS");
  const Tensor matches = match_boxes(truth, candidates, 0.7, 0.3, true);
  EXPECT_EQ(matches.size(0), 250'000);
  EXPECT_LT(status_bytes("VmHWM") - before, 16 << 20);
}

TEST(BoxCoder, decoding_undoes_encoding) {
  at::manual_seed(4);
  // At least 10 px a side: the stretch to the other box stays below the clamp.
  const Tensor grow = at::tensor({0.0F, 0.0F, 10.0F, 10.0F});
  const Tensor proposals = random_boxes(100, 200, 1e-3) + grow;
  const Tensor truth = random_boxes(100, 200, 1e-3) + grow;
  const BoxWeights weights = {10, 10, 5, 5};
  const Tensor decoded = decode_boxes(encode_boxes(truth, proposals, weights), proposals, weights);
  EXPECT_TRUE(at::allclose(decoded.squeeze(1), truth, 1e-4, 1e-2));
}

TEST(Errors, name_the_operation_and_what_it_got) {
  const Tensor boxes = random_boxes(4, 50, 1);
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  EXPECT_THAT(
      message([&] { batched_nms(boxes, at::zeros({3}), at::zeros({4}, at::kLong), 0.5); }),
      testing::HasSubstr("batched_nms: scores must be (4) Float on cpu, got [3] Float on cpu"));
  EXPECT_THAT(
      message([&] { match_boxes(boxes.to(at::kDouble), boxes, 0.5, 0.5, false); }),
      testing::HasSubstr("match_boxes: ground_truth must be (R, 4) Float, got [4, 4] Double"));
  EXPECT_THAT(message([&] { match_boxes(boxes, boxes, 0.3, 0.5, false); }),
              testing::HasSubstr("low_threshold 0.5 must not exceed high_threshold 0.3"));
  EXPECT_THAT(
      message([&] {
        decode_boxes(at::zeros({4, 7}), boxes, {1, 1, 1, 1});
      }),
      testing::HasSubstr("decode_boxes: deltas must be (4, 4 * K) Float on cpu, got [4, 7]"));
}

}  // namespace
}  // namespace atl::ops
