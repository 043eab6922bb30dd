// Results files come from other people's programs. Against a small ground truth: what is accepted
// can be evaluated (numbers in range), and survives being written and read again.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "dataset/coco_builder.h"
#include "eval/eval.h"

namespace {

using atl::eval::Detection;

const atl::dataset::CocoDataset& ground_truth() {
  static const auto truth = atl::dataset::CocoDataset::parse(R"({
    "images": [{"id": 1, "file_name": "a.jpg", "width": 20, "height": 10},
               {"id": 2, "file_name": "b.jpg", "width": 7, "height": 9}],
    "categories": [{"id": 1, "name": "a"}, {"id": 3, "name": "b"}],
    "annotations": [
      {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 24, "bbox": [2, 2, 6, 4],
       "segmentation": [[2, 2, 8, 2, 8, 6, 2, 6]]},
      {"id": 2, "image_id": 2, "category_id": 3, "iscrowd": 1, "area": 9, "bbox": [0, 0, 1, 9],
       "segmentation": {"size": [9, 7], "counts": [0, 9, 54]}}]})",
                                                             "truth")
                                .value();
  return truth;
}

bool finite(const Detection& detection) {
  bool all = std::isfinite(detection.score);
  for (const double side : detection.box) all = all && std::isfinite(side);
  return all;
}

// Masks larger than this take long to match, and teach nothing new.
constexpr uint64_t kMaxPixels = uint64_t{1} << 22;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  auto detections = atl::eval::parse_results(text, "input", ground_truth());
  if (!detections) {
    ATOLL_CHECK(!detections.error().to_string().empty());
    return 0;
  }
  uint64_t pixels = 0;
  for (const Detection& detection : *detections) {
    ATOLL_CHECK(finite(detection)) << detection.score;
    ATOLL_CHECK(ground_truth().image_index(detection.image_id).has_value()) << detection.image_id;
    pixels = std::max(pixels, uint64_t{detection.mask.height} * detection.mask.width);
  }
  const std::string written = atl::eval::results_to_json(*detections);
  const auto again = atl::eval::parse_results(written, "written", ground_truth());
  ATOLL_CHECK(again.has_value()) << again.error().to_string();
  ATOLL_CHECK(atl::eval::results_to_json(*again) == written) << written;
  if (pixels > kMaxPixels) return 0;
  const auto evaluation =
      atl::eval::evaluate(ground_truth(), *std::move(detections), {.threads = 1});
  ATOLL_CHECK(evaluation.has_value()) << evaluation.error().to_string();
  for (const auto& [kind, result] : evaluation->kinds) {
    for (const double stat : result.stats)
      ATOLL_CHECK(stat == -1 || (stat >= 0 && stat <= 1)) << stat;
  }
  return 0;
}
