#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/parallel.h"
#include "eval/accumulate.h"
#include "eval/eval.h"
#include "eval/match.h"

namespace atl::eval {
namespace {

// Images an idle thread takes at once: small enough that a few crowded images do not keep one busy
// alone.
constexpr size_t kImagesAtOnce = 8;

}  // namespace

struct Evaluator::Impl {
  const dataset::CocoDataset& ground_truth;
  EvalOptions options;
  std::vector<std::vector<Detection>> detections;  // as the dataset's images
  std::vector<bool> added;
  bool finished = false;

  // By id: pycocotools' order, which decides between equal scores.
  std::vector<size_t> images_by_id() const {
    std::vector<size_t> order(ground_truth.images().size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, {}, [&](size_t i) { return ground_truth.images()[i].id; });
    return order;
  }
};

Evaluator::Evaluator(const dataset::CocoDataset& ground_truth, EvalOptions options)
    : impl_(new Impl{ground_truth, std::move(options), {}, {}}) {
  impl_->detections.resize(ground_truth.images().size());
  impl_->added.resize(ground_truth.images().size());
  std::ranges::sort(impl_->options.max_detections);
  ATOLL_CHECK(impl_->options.max_detections[0] > 0) << impl_->options.max_detections[0];
}

Evaluator::~Evaluator() = default;

Result<void> Evaluator::add(int64_t image_id, std::vector<Detection> detections) {
  const auto index = impl_->ground_truth.image_index(image_id);
  if (!index) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("detections of image {}, which the ground truth does not have", image_id),
        "evaluate against the annotations of the same images");
  }
  if (impl_->added[*index]) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("detections of image {} were given twice", image_id));
  }
  impl_->added[*index] = true;
  impl_->detections[*index] = std::move(detections);
  return {};
}

Evaluation Evaluator::finish() {
  ATOLL_CHECK(!impl_->finished);
  impl_->finished = true;
  const EvalOptions& options = impl_->options;
  const dataset::CocoDataset& ground_truth = impl_->ground_truth;
  const int threads = options.threads > 0 ? options.threads : available_cpus();

  Evaluation evaluation;
  evaluation.max_detections = options.max_detections;
  if (options.use_categories) {
    evaluation.categories.assign(ground_truth.categories().begin(),
                                 ground_truth.categories().end());
  } else {
    evaluation.categories = {{-1, "all", ""}};
  }
  const std::vector<size_t> order = impl_->images_by_id();
  for (const IouKind kind : options.kinds) {
    const internal::MatchOptions match{kind,
                                       static_cast<size_t>(options.max_detections.back()),
                                       options.use_categories,
                                       options.strict_pycocotools};
    std::vector<internal::ImageOutcome> outcomes(order.size());
    parallel_for(order.size(), threads, kImagesAtOnce, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        outcomes[i] =
            internal::match_image(ground_truth, order[i], impl_->detections[order[i]], match);
      }
    });
    KindResult& result = evaluation.kinds[kind];
    const size_t category_count = evaluation.categories.size();
    static_cast<Curves&>(result) =
        internal::accumulate(outcomes, category_count, options.max_detections, threads);
    result.stats = internal::coco_stats(result, category_count, options.max_detections);
  }
  return evaluation;
}

Result<Evaluation> evaluate(const dataset::CocoDataset& ground_truth,
                            std::vector<Detection> detections,
                            EvalOptions options) {
  std::ranges::stable_sort(detections, {}, &Detection::image_id);
  Evaluator evaluator(ground_truth, std::move(options));
  for (auto at = detections.begin(); at != detections.end();) {
    const int64_t image_id = at->image_id;
    const auto end = std::find_if(
        at, detections.end(), [&](const Detection& each) { return each.image_id != image_id; });
    ATOLL_TRY(evaluator.add(image_id, {std::make_move_iterator(at), std::make_move_iterator(end)}));
    at = end;
  }
  return evaluator.finish();
}

}  // namespace atl::eval
