// Both the kernels (through the public functions) and the plain tensor code give torchvision's
// values.
#include "ops/goldens.h"

#include <gtest/gtest.h>

#include "ops/ops.h"
#include "ops/reference.h"

namespace atl::ops {
namespace {

using at::Tensor;

const Tensor& golden(const std::string& name) {
  static const auto goldens = read_goldens();
  return goldens.at(name);
}

const std::vector<double> kScales = {1.0 / 4, 1.0 / 8};

std::vector<Tensor> golden_features() {
  return {golden("roi_align/feature0").clone(), golden("roi_align/feature1").clone()};
}

class RoiAlignGolden : public testing::TestWithParam<std::tuple<const char*, int64_t, bool>> {};

TEST_P(RoiAlignGolden, the_kernel_gives_torchvisions_values_and_gradients_bit_for_bit) {
  const auto [name, ratio, aligned] = GetParam();
  const std::string prefix = std::string("roi_align/") + name;
  auto features = golden_features();
  for (Tensor& feature : features) feature.requires_grad_();
  const Tensor pooled = roi_align(
      features, golden("roi_align/rois"), golden("roi_align/levels"), kScales, 4, ratio, aligned);
  EXPECT_TRUE(at::equal(pooled, golden(prefix)));
  pooled.backward(golden("roi_align/gradient"));
  for (size_t level = 0; level < 2; ++level) {
    EXPECT_TRUE(at::allclose(
        features[level].grad(), golden(prefix + "/gradient" + std::to_string(level)), 1e-5, 1e-6));
  }
}

TEST_P(RoiAlignGolden, the_plain_code_gives_torchvisions_values_and_gradients) {
  const auto [name, ratio, aligned] = GetParam();
  const std::string prefix = std::string("roi_align/") + name;
  auto features = golden_features();
  for (Tensor& feature : features) feature.requires_grad_();
  const Tensor pooled = reference::roi_align(
      features, golden("roi_align/rois"), golden("roi_align/levels"), kScales, 4, ratio, aligned);
  EXPECT_TRUE(at::allclose(pooled, golden(prefix), 1e-6, 1e-6));
  pooled.backward(golden("roi_align/gradient"));
  const auto adjoint = reference::roi_align_backward(golden("roi_align/gradient"),
                                                     golden("roi_align/rois"),
                                                     golden("roi_align/levels"),
                                                     kScales,
                                                     2,
                                                     {12, 6},
                                                     {16, 8},
                                                     ratio,
                                                     aligned);
  for (size_t level = 0; level < 2; ++level) {
    const Tensor& expected = golden(prefix + "/gradient" + std::to_string(level));
    EXPECT_TRUE(at::allclose(features[level].grad(), expected, 1e-5, 1e-6));
    EXPECT_TRUE(at::allclose(adjoint[level], expected, 1e-5, 1e-6));
  }
}

INSTANTIATE_TEST_SUITE_P(ops,
                         RoiAlignGolden,
                         testing::Values(std::tuple("two", 2, false),
                                         std::tuple("adaptive", -1, false),
                                         std::tuple("aligned", 2, true)),
                         [](const auto& test) { return std::get<0>(test.param); });

TEST(Goldens, levels_are_torchvisions) {
  EXPECT_TRUE(at::equal(assign_levels(golden("levels/boxes"), 2, 5), golden("levels/expected")));
}

// To the last bits of exp and log, which torch takes from libraries that choose by the processor: the
// goldens' last bits are those of an Intel machine.
bool equal_but_for_rounding(const Tensor& a, const Tensor& b) {
  return a.sizes() == b.sizes() && at::allclose(a, b, /*rtol=*/1e-5, /*atol=*/1e-5);
}

TEST(Goldens, box_coding_is_torchvisions) {
  const std::vector<std::pair<std::string, BoxWeights>> cases = {{"plain", {1, 1, 1, 1}},
                                                                 {"scaled", {10, 10, 5, 5}}};
  for (const auto& [name, weights] : cases) {
    const Tensor encoded =
        encode_boxes(golden("coder/reference"), golden("coder/proposals"), weights);
    EXPECT_TRUE(equal_but_for_rounding(encoded, golden("coder/" + name + "/encoded")));
    const Tensor decoded = decode_boxes(golden("coder/deltas"), golden("coder/proposals"), weights);
    EXPECT_EQ(decoded.sizes(), at::IntArrayRef({60, 3, 4}));
    EXPECT_TRUE(
        equal_but_for_rounding(decoded, golden("coder/" + name + "/decoded").view({60, 3, 4})));
  }
}

TEST(Goldens, the_same_boxes_survive_suppression) {
  const std::vector<std::pair<std::string, double>> cases = {
      {"nms/0.3", 0.3}, {"nms/0.5", 0.5}, {"nms/0.7", 0.7}};
  for (const auto& [name, threshold] : cases) {
    const Tensor& boxes = golden("nms/boxes");
    EXPECT_TRUE(at::equal(batched_nms(boxes, golden("nms/scores"), golden("nms/groups"), threshold),
                          golden(name)));
    EXPECT_TRUE(at::equal(
        reference::batched_nms(boxes, golden("nms/scores"), golden("nms/groups"), threshold),
        golden(name)));
  }
}

TEST(Goldens, the_same_candidates_match) {
  const Tensor& truth = golden("match/truth");
  const Tensor& candidates = golden("match/candidates");
  const Tensor far = at::cat({truth, at::tensor({500.0F, 500.0F, 510.0F, 520.0F}).view({1, 4})});
  for (const auto& match : {&match_boxes, &reference::match_boxes}) {
    EXPECT_TRUE(at::equal(match(truth, candidates, 0.7, 0.3, true), golden("match/rpn")));
    EXPECT_TRUE(at::equal(match(truth, candidates, 0.5, 0.5, false), golden("match/heads")));
    EXPECT_TRUE(at::equal(match(far, candidates, 0.7, 0.3, true), golden("match/far")));
  }
}

TEST(Goldens, mask_targets_are_what_roi_align_makes_of_the_bitmaps) {
  const MaskRuns runs = {golden("targets/counts").to(at::kInt), golden("targets/offsets"), 40, 52};
  const Tensor& boxes = golden("targets/boxes");
  const Tensor& index = golden("targets/index");
  const Tensor& expected = golden("targets/expected");
  EXPECT_TRUE(at::equal(mask_targets(runs, boxes, index, 14), expected));
  EXPECT_TRUE(at::allclose(reference::mask_targets(runs, boxes, index, 14), expected, 0, 1e-6));
}

TEST(Goldens, pasted_masks_are_equal_to_the_pixel) {
  for (const auto& paste : {&paste_masks, &reference::paste_masks}) {
    std::vector<int64_t> counts, offsets = {0};
    for (const PastedMask& mask :
         paste(golden("paste/masks"), golden("paste/boxes"), 56, 72, 0.5)) {
      counts.insert(counts.end(), mask.counts.begin(), mask.counts.end());
      offsets.push_back(static_cast<int64_t>(counts.size()));
    }
    EXPECT_TRUE(at::equal(at::tensor(offsets), golden("paste/offsets")));
    EXPECT_TRUE(at::equal(at::tensor(counts), golden("paste/counts")));
  }
}

}  // namespace
}  // namespace atl::ops
