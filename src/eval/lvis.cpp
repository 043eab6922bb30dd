#include "eval/lvis.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/parallel.h"
#include "eval/accumulate.h"
#include "eval/match.h"
#include "eval/tables.h"

namespace atl::eval {
namespace {

constexpr size_t kImagesAtOnce = 8;

// The lvis package sorts only where it cuts; a stable sort by falling score comes later anyway.
void keep_best(std::vector<Detection>& detections, size_t count) {
  if (detections.size() <= count) return;
  std::ranges::stable_sort(detections, [](const Detection& a, const Detection& b) {
    return a.score > b.score || (std::isnan(b.score) && !std::isnan(a.score));
  });
  detections.resize(count);
}

// As the dataset's images.
Result<std::vector<std::vector<Detection>>> by_image(const dataset::CocoDataset& ground_truth,
                                                     std::vector<Detection> detections) {
  std::vector<std::vector<Detection>> result(ground_truth.images().size());
  for (Detection& detection : detections) {
    const auto index = ground_truth.image_index(detection.image_id);
    if (!index) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("detections of image {}, which the ground truth does not have",
                              detection.image_id),
                  "evaluate against the annotations of the same images");
    }
    result[*index].push_back(std::move(detection));
  }
  return result;
}

char letter_of(Frequency frequency) {
  return frequency == Frequency::kRare ? 'r' : frequency == Frequency::kCommon ? 'c' : 'f';
}

// One line of the lvis package's print_results; what is measured stands in the number's name.
std::string line(std::string_view name, int max_detections, double value) {
  const bool precision = name.starts_with("AP");
  const std::string_view which = name.substr(2, 1);
  const char* iou = which == "5" ? "0.50" : which == "7" ? "0.75" : "0.50:0.95";
  const bool area = which == "s" || which == "m" || which == "l";
  const bool frequency = which == "r" || which == "c" || which == "f";
  return fmt::format(
      " {:<18} {} @[ IoU={:<9} | area={:>6s} | maxDets={:>3d} catIds={:>3s}] = {:0.3f}\n",
      precision ? "Average Precision" : "Average Recall",
      precision ? "(AP)" : "(AR)",
      iou,
      area ? which : "all",
      max_detections,
      frequency ? which : "all",
      value);
}

}  // namespace

std::array<std::string, 13> lvis_names(int max_detections) {
  const auto recall = [&](const char* area) {
    return fmt::format("AR{}@{}", area, max_detections);
  };
  return {"AP",
          "AP50",
          "AP75",
          "APs",
          "APm",
          "APl",
          "APr",
          "APc",
          "APf",
          recall(""),
          recall("s"),
          recall("m"),
          recall("l")};
}

std::string LvisEvaluation::table() const {
  const auto names = lvis_names(max_detections);
  std::string text;
  for (const auto& [kind, result] : kinds) {
    if (kinds.size() > 1) text += fmt::format("{}\n", name_of(kind));
    for (size_t i = 0; i < names.size(); ++i) {
      text += line(names[i], max_detections, result.stats[i]);
    }
  }
  return text;
}

std::string LvisEvaluation::category_table() const {
  std::vector<internal::Column> columns;
  internal::Column letters{"", {}};
  for (const Frequency frequency : frequencies) letters.cells.emplace_back(1, letter_of(frequency));
  columns.push_back(std::move(letters));
  for (const auto& [kind, result] : kinds) columns.push_back(internal::ap_column(kind, result));
  return internal::category_table(categories, columns);
}

std::string LvisEvaluation::to_json(std::string_view further) const {
  const auto names = lvis_names(max_detections);
  std::string text = "{";
  for (const auto& [kind, result] : kinds) {
    if (text.size() > 1) text += ",";
    text += fmt::format("\n \"{}\": {{\n  \"stats\": {{", name_of(kind));
    for (size_t i = 0; i < names.size(); ++i) {
      text += fmt::format("{}\"{}\": {:.17g}", i == 0 ? "" : ", ", names[i], result.stats[i]);
    }
    text += fmt::format("}},\n  \"per_category\": {}\n }}",
                        internal::per_category_json(categories, result.category_ap));
  }
  if (!further.empty()) text += fmt::format(",\n {}", further);
  return text + "\n}\n";
}

Result<LvisEvaluation> evaluate_lvis(const dataset::CocoDataset& ground_truth,
                                     const LvisAnnotations& lvis,
                                     std::vector<Detection> detections,
                                     const LvisOptions& options) {
  ATOLL_CHECK(options.max_detections > 0) << options.max_detections;
  ATOLL_CHECK(lvis.images.size() == ground_truth.images().size()) << lvis.images.size();
  const int threads = options.threads > 0 ? options.threads : available_cpus();
  auto of_images = ATOLL_TRY(by_image(ground_truth, std::move(detections)));

  // By id: the lvis package's order, which decides between equal scores.
  std::vector<size_t> order(ground_truth.images().size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return ground_truth.images()[i].id; });

  const auto count = static_cast<size_t>(options.max_detections);
  for (auto& of_image : of_images) keep_best(of_image, count);

  LvisEvaluation evaluation;
  evaluation.categories.assign(ground_truth.categories().begin(), ground_truth.categories().end());
  evaluation.frequencies = lvis.frequencies;
  evaluation.max_detections = options.max_detections;
  std::atomic<size_t> done = 0;
  for (const IouKind kind : options.kinds) {
    const internal::MatchOptions match{kind, count, true, options.strict_pycocotools};
    std::vector<internal::ImageOutcome> outcomes(order.size());
    parallel_for(order.size(), threads, kImagesAtOnce, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        outcomes[i] = internal::match_image(
            ground_truth, order[i], of_images[order[i]], match, &lvis.images[order[i]]);
      }
      done += end - begin;
      if (options.progress) options.progress(done, order.size() * options.kinds.size());
    });
    LvisResult& result = evaluation.kinds[kind];
    static_cast<Curves&>(result) = internal::accumulate(
        outcomes, evaluation.categories.size(), std::span(&options.max_detections, 1), threads);
    result.stats = internal::lvis_stats(result, lvis.frequencies);
  }
  return evaluation;
}

}  // namespace atl::eval
