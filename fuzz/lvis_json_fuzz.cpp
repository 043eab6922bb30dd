// LVIS annotations come from other people's programs. What COCO's parser accepts goes to the parser
// of the LVIS fields; what that one accepts fits the dataset and can be evaluated.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "eval/lvis.h"

namespace {

using atl::dataset::CocoDataset;
using atl::eval::Detection;

// Larger masks take long to draw, and teach nothing new.
constexpr int64_t kMaxPixels = int64_t{1} << 20;

void check_fields(const atl::eval::LvisAnnotations& lvis, const CocoDataset& dataset) {
  ATOLL_CHECK(lvis.images.size() == dataset.images().size());
  ATOLL_CHECK(lvis.frequencies.size() == dataset.categories().size());
  for (size_t i = 0; i < lvis.images.size(); ++i) {
    for (const auto* ids :
         {&lvis.images[i].negative_categories, &lvis.images[i].not_exhaustive_categories}) {
      ATOLL_CHECK(std::ranges::is_sorted(*ids));
      for (const int64_t id : *ids) ATOLL_CHECK(dataset.label_of(id).has_value()) << id;
    }
    for (size_t a = 0; a < dataset.annotations_of(i).size(); ++a) (void)lvis.images[i].ignores(a);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto dataset = CocoDataset::parse(text, "input");
  if (!dataset) {
    // The fields' parser gets through broken text by itself, too.
    const auto lvis = atl::eval::parse_lvis(text, "input", CocoDataset());
    ATOLL_CHECK(lvis.has_value() || !lvis.error().to_string().empty());
    return 0;
  }
  const auto lvis = atl::eval::parse_lvis(text, "input", *dataset);
  if (!lvis) {
    ATOLL_CHECK(!lvis.error().to_string().empty());
    return 0;
  }
  check_fields(*lvis, *dataset);
  std::vector<Detection> detections;
  for (const auto& image : dataset->images()) {
    if (int64_t{image.width} * image.height > kMaxPixels) return 0;
  }
  for (const auto& annotation : dataset->annotations()) {
    Detection detection;
    detection.image_id = dataset->images()[static_cast<size_t>(annotation.image_index)].id;
    detection.category_id = annotation.category_id;
    detection.score = 0.5;
    detection.box = annotation.box;
    detection.area = annotation.area;
    detections.push_back(detection);
  }
  const auto evaluation = atl::eval::evaluate_lvis(*dataset, *lvis, detections, {.threads = 1});
  ATOLL_CHECK(evaluation.has_value()) << evaluation.error().to_string();
  for (const auto& [kind, result] : evaluation->kinds) {
    for (const double stat : result.stats) {
      ATOLL_CHECK(stat == -1 || (stat >= 0 && stat <= 1)) << stat;
    }
  }
  return 0;
}
