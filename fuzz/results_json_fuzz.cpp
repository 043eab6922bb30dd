// Results files come from other people's programs. Against a small ground truth: what is accepted
// can be evaluated (numbers in range), and survives being written and read again. The parallel
// scanner, in pieces of a few bytes, accepts nothing that the exact reader does not, and reads it
// the same.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dataset/coco_builder.h"
#include "eval/eval.h"
#include "eval/result_record.h"

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

// What a file's records say; empty where it is refused.
using Records = std::vector<atl::eval::internal::ResultRecord>;

std::string described(const Records& records) {
  std::string text;
  atl::eval::internal::MaskTextReader masks;
  for (const auto& record : records) {
    text += fmt::format("{} {} {} {} {} {};",
                        record.image_id,
                        record.category_id,
                        record.score,
                        fmt::join(record.box, " "),
                        record.area,
                        record.extent.area);
    if (!record.has_mask) continue;
    const auto counts =
        masks.read(record.counts_text(), record.escaped, record.height, record.width);
    ATOLL_CHECK(counts.has_value()) << record.image_id;
    text += fmt::format("{};", fmt::join(*counts, " "));
  }
  return text;
}

void check_scanner(std::string_view text) {
  namespace internal = atl::eval::internal;
  constexpr auto kPolicy = atl::eval::BadResults::kLeaveOut;
  auto lists = internal::scan_results(text, 1, 64);
  if (!lists) return;
  atl::eval::BadResultCounts bad;
  const auto exact = internal::read_results(text, "input", ground_truth(), kPolicy, bad);
  ATOLL_CHECK(exact.has_value()) << exact.error().to_string();
  internal::ResultCheck check(ground_truth(), kPolicy, (*lists)[0][0].has_box);
  Records records;
  atl::eval::BadResultCounts bad_of_scan;
  size_t index = 0;
  for (auto& list : *lists) {
    for (auto& record : list) {
      const auto stays = check.accept(record, index++, bad_of_scan);
      ATOLL_CHECK(stays.has_value());
      if (*stays) records.push_back(record);
    }
  }
  ATOLL_CHECK(described(records) == described(exact->records)) << text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  check_scanner(text);
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
