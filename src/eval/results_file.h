// A COCO results file, read in the form in which it is scored: 500,000 masks take 60 MB, because
// they stay text.
//
//   ResultsFile file(text, "dt.json");                 // needs no ground truth: may run beside its
//   ATOLL_TRY(file.resolve(truth, BadResults::kRefuse));                             // own reading
//   Evaluation evaluation = evaluate(truth, file, options);
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "eval/eval.h"

namespace atl::eval {

// What becomes of a result that cannot be scored: its image or category is not in the ground truth,
// its box has a negative size or a number is NaN, its mask is damaged or has another size than the
// image. Malformed JSON is an error always.
enum class BadResults {
  kRefuse,    // an error that names the record and its image
  kLeaveOut,  // counted, see bad()
  // Unknown categories, negative sizes and masks of another size match nothing, as in pycocotools,
  // and are counted; the rest is an error.
  kAsPycocotools,
};

enum class BadReason { kImage, kCategory, kBox, kMask, kOther };
constexpr size_t kBadReasonCount = 5;

struct BadResultCount {
  size_t count = 0;
  std::string first;  // "record 17: …" of the first of them
};
using BadResultCounts = std::array<BadResultCount, kBadReasonCount>;  // by BadReason

class ResultsFile {
 public:
  // Reads `text`, which must outlive the object; `name` is for messages. What is wrong with it
  // comes out in resolve().
  ResultsFile(std::string_view text, std::string_view name, int threads = 0);
  ~ResultsFile();
  ResultsFile(ResultsFile&&) noexcept;
  ResultsFile& operator=(ResultsFile&&) noexcept;

  // Once. Errors (kInvalidInput): malformed JSON with its byte offset; a bad result with its index
  // and image.
  Result<void> resolve(const dataset::CocoDataset& ground_truth, BadResults bad_results);

  // After resolve(): the results that are left. kAsPycocotools leaves those of unknown categories
  // among them.
  size_t size() const;
  const BadResultCounts& bad() const;
  // The same as parse_results gives.
  std::vector<Detection> detections() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  // for this room

 private:
  std::unique_ptr<Impl> impl_;
};

// After resolve() against the same ground truth. The fastest way from a file to its numbers.
Evaluation evaluate(const dataset::CocoDataset& ground_truth,
                    const ResultsFile& results,
                    EvalOptions options);

}  // namespace atl::eval
