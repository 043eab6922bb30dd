// The RoIAlign kernel against the plain tensor code, against finite differences, and against itself
// on other numbers of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/ops.h"
#include "ops/reference.h"

namespace atl::ops {
namespace {

using at::Tensor;

constexpr int64_t kImages = 2;
const std::vector<double> kScales = {1.0 / 4, 1.0 / 8, 1.0 / 16};

// Boxes in, around and far outside a 96 x 128 image; tiny, huge and inside out ones among them.
Tensor random_rois(int64_t count) {
  const Tensor centres = at::rand({count, 2}) * at::tensor({168.0F, 136.0F}) - 20;
  Tensor halves = at::rand({count, 2}).pow(3) * 80;
  halves.slice(0, 0, count / 8).mul_(1e-3);
  halves.slice(0, count / 8, count / 6).mul_(-1);
  Tensor rois = at::cat(
      {at::randint(kImages, {count, 1}).to(at::kFloat), centres - halves, centres + halves}, 1);
  if (count > 20) rois.slice(1, 1).slice(0, count - 2).add_(1000);
  return rois;
}

struct Case {
  std::vector<Tensor> features;
  Tensor rois;
  Tensor levels;
};

Case random_case(int64_t channels, int64_t rois, at::ScalarType type = at::kFloat) {
  Case made;
  for (int64_t level = 0; level < 3; ++level) {
    made.features.push_back(at::randn({kImages, channels, 24 >> level, 32 >> level}).to(type));
  }
  made.rois = random_rois(rois);
  made.levels = at::randint(3, {rois}, at::kLong);
  return made;
}

struct Outcome {
  Tensor pooled;
  std::vector<Tensor> gradients;
};

template <typename Pool>
Outcome forward_and_backward(const Case& given, const Pool& pool) {
  std::vector<Tensor> leaves;
  for (const Tensor& feature : given.features) {
    leaves.push_back(feature.detach().clone().requires_grad_());
  }
  const Tensor pooled = pool(leaves);
  // A gradient that depends on the value, so that a mix-up of places shows.
  pooled.backward(pooled.detach().cos());
  Outcome outcome{pooled.detach(), {}};
  for (const Tensor& leaf : leaves) outcome.gradients.push_back(leaf.grad());
  return outcome;
}

Outcome by_kernel(const Case& given, int64_t size, int64_t ratio, bool aligned) {
  return forward_and_backward(given, [&](const std::vector<Tensor>& features) {
    return roi_align(features, given.rois, given.levels, kScales, size, ratio, aligned);
  });
}

TEST(RoiAlign, the_kernel_agrees_with_the_plain_code_for_any_shape) {
  at::manual_seed(1);
  // Channels around the vector and block widths; bins and samples of all kinds.
  for (const int64_t channels : {1, 3, 16, 17, 64, 83, 150}) {
    for (const auto& [size, ratio, aligned] : {std::tuple(7, 2, false),
                                               std::tuple(5, 0, false),
                                               std::tuple(3, 3, true),
                                               std::tuple(1, 1, false),
                                               std::tuple(2, -1, true)}) {
      const Case given = random_case(channels, 40);
      const Outcome kernel = by_kernel(given, size, ratio, aligned);
      const Outcome plain = forward_and_backward(
          given,
          [&, &size = size, &ratio = ratio, &aligned = aligned](
              const std::vector<Tensor>& features) {
            return reference::roi_align(
                features, given.rois, given.levels, kScales, size, ratio, aligned);
          });
      EXPECT_TRUE(at::allclose(kernel.pooled, plain.pooled, 1e-5, 1e-5)) << channels << " " << size;
      for (size_t l = 0; l < 3; ++l) {
        EXPECT_TRUE(at::allclose(kernel.gradients[l], plain.gradients[l], 1e-4, 1e-4))
            << channels << " channels, " << size << " bins, " << ratio << " samples";
      }
    }
  }
}

TEST(RoiAlign, the_gradient_is_that_of_finite_differences) {
  at::manual_seed(2);
  const Case given = random_case(3, 12, at::kDouble);
  for (const int64_t ratio : {2, -1}) {
    const Tensor direction = at::randn({12, 3, 4, 4}, at::kDouble);
    std::vector<Tensor> leaves;
    for (const Tensor& feature : given.features) {
      leaves.push_back(feature.clone().requires_grad_());
    }
    const auto loss = [&](const std::vector<Tensor>& features) {
      const Tensor pooled = roi_align(features, given.rois, given.levels, kScales, 4, ratio, false);
      return (pooled.sin() * direction).sum();
    };
    loss(leaves).backward();
    for (size_t l = 0; l < 3; ++l) {
      const Tensor flat_gradient = leaves[l].grad().contiguous().flatten();
      for (int64_t k = 0; k < flat_gradient.numel(); k += 37) {
        const auto shifted = [&](double by) {
          std::vector<Tensor> features;
          for (const Tensor& feature : given.features) features.push_back(feature.clone());
          features[l].view({-1})[k] += by;
          return loss(features).item<double>();
        };
        constexpr double step = 1e-5;
        EXPECT_NEAR(
            flat_gradient[k].item<double>(), (shifted(step) - shifted(-step)) / (2 * step), 1e-8)
            << "level " << l << ", element " << k << ", " << ratio << " samples";
      }
    }
  }
}

TEST(RoiAlign, results_have_the_same_bits_on_any_number_of_threads) {
  at::manual_seed(3);
  const int before = at::get_num_threads();
  for (const int64_t channels : {24, 256}) {
    const Case given = random_case(channels, 60);
    at::set_num_threads(1);
    const Outcome one = by_kernel(given, 7, -1, false);
    for (const int threads : {2, 3, 5}) {
      at::set_num_threads(threads);
      const Outcome many = by_kernel(given, 7, -1, false);
      EXPECT_TRUE(at::equal(one.pooled, many.pooled));
      for (size_t l = 0; l < 3; ++l) {
        EXPECT_TRUE(at::equal(one.gradients[l], many.gradients[l])) << threads << " threads";
      }
    }
  }
  at::set_num_threads(before);
}

TEST(RoiAlign, bfloat16_is_float_rounded_once) {
  at::manual_seed(4);
  const Case half = random_case(40, 30, at::kBFloat16);
  Case full = half;
  for (Tensor& feature : full.features) feature = feature.to(at::kFloat);
  const Tensor pooled = roi_align(half.features, half.rois, half.levels, kScales, 7, 2);
  const Tensor exact = roi_align(full.features, full.rois, full.levels, kScales, 7, 2);
  EXPECT_EQ(pooled.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(pooled, exact.to(at::kBFloat16)));
  EXPECT_EQ(by_kernel(half, 7, 2, false).gradients[0].scalar_type(), at::kBFloat16);
}

TEST(RoiAlign, memory_formats_change_nothing_and_the_result_is_channels_last) {
  at::manual_seed(5);
  const Case given = random_case(20, 25);
  Case last = given;
  for (Tensor& feature : last.features) {
    feature = feature.contiguous(at::MemoryFormat::ChannelsLast);
  }
  const Outcome a = by_kernel(given, 7, 2, false);
  const Outcome b = by_kernel(last, 7, 2, false);
  EXPECT_TRUE(a.pooled.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(at::equal(a.pooled, b.pooled));
  EXPECT_TRUE(at::equal(a.gradients[0], b.gradients[0]));
}

TEST(RoiAlign, no_rois_give_an_empty_result_and_zero_gradients) {
  const Case given = random_case(6, 0);
  const Outcome outcome = by_kernel(given, 7, 2, false);
  EXPECT_EQ(outcome.pooled.sizes(), at::IntArrayRef({0, 6, 7, 7}));
  for (const Tensor& gradient : outcome.gradients) {
    EXPECT_EQ(gradient.abs().sum().item<float>(), 0);
  }
}

TEST(RoiAlign, errors_name_the_operation_and_the_shape_received) {
  const Case given = random_case(4, 5);
  const auto message = [&](const Tensor& rois, const Tensor& levels) -> std::string {
    try {
      roi_align(given.features, rois, levels, kScales, 7, 2);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  EXPECT_THAT(message(given.rois.slice(1, 1), given.levels),
              testing::HasSubstr("roi_align: rois must be (R, 5) Float, got [5, 4] Float"));
  EXPECT_THAT(message(given.rois, given.levels.slice(0, 1)),
              testing::HasSubstr("levels must be (5) Long on cpu, got [4] Long"));
  EXPECT_THAT(message(given.rois, given.levels + 3), testing::HasSubstr("of 3"));
  EXPECT_THAT(message(given.rois + 2, given.levels), testing::HasSubstr("of 2"));
}

}  // namespace
}  // namespace atl::ops
