// Detections of an image are matched when they come, and forgotten: what is kept of each is a score
// and, for each kind of IoU, 16 bytes.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "base/check.h"
#include "base/parallel.h"
#include "eval/accumulate.h"
#include "eval/eval.h"
#include "eval/match.h"
#include "eval/results_file.h"

namespace atl::eval {
namespace {

using internal::Candidate;
using internal::ImageMatcher;
using internal::ImageOutcome;
using internal::ResultRecord;

// Images an idle thread takes at once: small enough that a few crowded images do not keep one busy
// alone.
constexpr size_t kImagesAtOnce = 16;

EvalOptions checked(EvalOptions options) {
  std::ranges::sort(options.max_detections);
  ATOLL_CHECK(options.max_detections[0] > 0) << options.max_detections[0];
  if (options.threads <= 0) options.threads = available_cpus();
  return options;
}

ImageMatcher matcher_of(const dataset::CocoDataset& ground_truth, const EvalOptions& options) {
  return {ground_truth,
          {.kind = IouKind::kBox,
           .max_detections = static_cast<size_t>(options.max_detections.back()),
           .use_categories = options.use_categories,
           .strict_pycocotools = options.strict_pycocotools}};
}

// For each kind, as the dataset's images.
using Outcomes = std::vector<std::vector<ImageOutcome>>;

Outcomes no_outcomes(const dataset::CocoDataset& ground_truth, const EvalOptions& options) {
  return Outcomes(options.kinds.size(), std::vector<ImageOutcome>(ground_truth.images().size()));
}

// Matches the images for which candidates_of(image, candidates) puts them into `candidates`, and
// returns true.
template <typename CandidatesOf>
void match_images(const dataset::CocoDataset& ground_truth,
                  const EvalOptions& options,
                  Outcomes& outcomes,
                  CandidatesOf candidates_of) {
  const size_t count = ground_truth.images().size();
  std::atomic<size_t> done = 0;
  parallel_for(count, options.threads, kImagesAtOnce, [&](size_t begin, size_t end) {
    ImageMatcher matcher = matcher_of(ground_truth, options);
    std::vector<Candidate> candidates;
    for (size_t image = begin; image < end; ++image) {
      candidates.clear();
      if (!candidates_of(image, candidates)) continue;
      matcher.set_image(image, candidates);
      for (size_t kind = 0; kind < options.kinds.size(); ++kind) {
        outcomes[kind][image] = matcher.match(options.kinds[kind]);
      }
    }
    done += end - begin;
    if (options.progress) options.progress(done, count);
  });
}

// By id: pycocotools' order, which decides between equal scores.
std::vector<ImageOutcome> in_order_of_ids(const dataset::CocoDataset& ground_truth,
                                          std::vector<ImageOutcome> outcomes) {
  const auto images = ground_truth.images();
  std::vector<size_t> order(images.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return images[i].id; });
  if (std::ranges::is_sorted(order)) return outcomes;
  std::vector<ImageOutcome> result;
  result.reserve(order.size());
  for (const size_t i : order) result.push_back(std::move(outcomes[i]));
  return result;
}

Evaluation sum_up(const dataset::CocoDataset& ground_truth,
                  const EvalOptions& options,
                  Outcomes outcomes) {
  Evaluation evaluation;
  evaluation.max_detections = options.max_detections;
  if (options.use_categories) {
    evaluation.categories.assign(ground_truth.categories().begin(),
                                 ground_truth.categories().end());
  } else {
    evaluation.categories = {{-1, "all", ""}};
  }
  const size_t category_count = evaluation.categories.size();
  for (size_t i = 0; i < options.kinds.size(); ++i) {
    const auto ordered = in_order_of_ids(ground_truth, std::move(outcomes[i]));
    KindResult& result = evaluation.kinds[options.kinds[i]];
    static_cast<Curves&>(result) =
        internal::accumulate(ordered, category_count, options.max_detections, options.threads);
    result.stats = internal::coco_stats(result, category_count, options.max_detections);
  }
  return evaluation;
}

tl::unexpected<Error> unknown_image(int64_t image_id) {
  return fail(ErrorCode::kInvalidInput,
              fmt::format("detections of image {}, which the ground truth does not have", image_id),
              "evaluate against the annotations of the same images");
}

// Positions of things by the image that they belong to.
class ByImage {
 public:
  // image_of(i) for each i below `count`.
  template <typename ImageOf>
  ByImage(size_t images, size_t count, ImageOf image_of) : begin_(images + 1), items_(count) {
    for (size_t i = 0; i < count; ++i) ++begin_[image_of(i) + 1];
    std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
    std::vector<uint32_t> next(begin_.begin(), begin_.end() - 1);
    for (size_t i = 0; i < count; ++i) items_[next[image_of(i)]++] = static_cast<uint32_t>(i);
  }

  // In their order.
  std::span<const uint32_t> of(size_t image) const {
    return std::span(items_).subspan(begin_[image], begin_[image + 1] - begin_[image]);
  }

 private:
  std::vector<uint32_t> begin_;
  std::vector<uint32_t> items_;
};

}  // namespace

struct Evaluator::Impl {
  const dataset::CocoDataset& ground_truth;
  EvalOptions options;
  ImageMatcher matcher;
  Outcomes outcomes;
  std::vector<bool> added;
  bool finished = false;
};

Evaluator::Evaluator(const dataset::CocoDataset& ground_truth, EvalOptions options)
    : impl_(nullptr) {
  options = checked(std::move(options));
  ImageMatcher matcher = matcher_of(ground_truth, options);
  impl_.reset(new Impl{ground_truth, std::move(options), std::move(matcher), {}, {}});
  impl_->outcomes = no_outcomes(ground_truth, impl_->options);
  impl_->added.resize(ground_truth.images().size());
}

Evaluator::~Evaluator() = default;

Result<void> Evaluator::add(int64_t image_id, std::vector<Detection> detections) {
  ATOLL_CHECK(!impl_->finished);
  const auto index = impl_->ground_truth.image_index(image_id);
  if (!index) return unknown_image(image_id);
  if (impl_->added[*index]) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("detections of image {} were given twice", image_id));
  }
  impl_->added[*index] = true;
  const auto candidates = internal::to_candidates(impl_->ground_truth, detections);
  impl_->matcher.set_image(*index, candidates);
  for (size_t kind = 0; kind < impl_->options.kinds.size(); ++kind) {
    impl_->outcomes[kind][*index] = impl_->matcher.match(impl_->options.kinds[kind]);
  }
  return {};
}

Evaluation Evaluator::finish() {
  ATOLL_CHECK(!impl_->finished);
  impl_->finished = true;
  // The others' ground truths count, too.
  match_images(impl_->ground_truth,
               impl_->options,
               impl_->outcomes,
               [&](size_t image, std::vector<Candidate>&) { return !impl_->added[image]; });
  return sum_up(impl_->ground_truth, impl_->options, std::move(impl_->outcomes));
}

Result<Evaluation> evaluate(const dataset::CocoDataset& ground_truth,
                            std::vector<Detection> detections,
                            EvalOptions options) {
  options = checked(std::move(options));
  std::vector<uint32_t> image_of;
  image_of.reserve(detections.size());
  for (const Detection& each : detections) {
    const auto index = ground_truth.image_index(each.image_id);
    if (!index) return unknown_image(each.image_id);
    image_of.push_back(static_cast<uint32_t>(*index));
  }
  const ByImage by_image(
      ground_truth.images().size(), detections.size(), [&](size_t i) { return image_of[i]; });
  Outcomes outcomes = no_outcomes(ground_truth, options);
  match_images(
      ground_truth, options, outcomes, [&](size_t image, std::vector<Candidate>& candidates) {
        for (const uint32_t i : by_image.of(image)) {
          internal::add_candidate(ground_truth, detections[i], candidates);
        }
        return true;
      });
  return sum_up(ground_truth, options, std::move(outcomes));
}

Evaluation evaluate(const dataset::CocoDataset& ground_truth,
                    const ResultsFile& results,
                    EvalOptions options) {
  options = checked(std::move(options));
  std::vector<const ResultRecord*> records;
  records.reserve(results.size());
  for (const auto& list : results.impl().lists) {
    for (const ResultRecord& record : list) records.push_back(&record);
  }
  const ByImage by_image(
      ground_truth.images().size(), records.size(), [&](size_t i) { return records[i]->image; });
  Outcomes outcomes = no_outcomes(ground_truth, options);
  match_images(
      ground_truth, options, outcomes, [&](size_t image, std::vector<Candidate>& candidates) {
        for (const uint32_t i : by_image.of(image)) {
          internal::add_candidate(*records[i], candidates);
        }
        return true;
      });
  return sum_up(ground_truth, options, std::move(outcomes));
}

}  // namespace atl::eval
