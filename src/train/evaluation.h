// Runs a model over a split and scores it with eval/, image by image: pictures, masks and records
// come and go, and memory does not grow with the number of images but by what eval/ keeps of each.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "eval/eval.h"
#include "model/mask_rcnn.h"
#include "parallel/group.h"
#include "storage/storage.h"
#include "trace/trace.h"
#include "train/predictions_file.h"
#include "train/split.h"
#include "train/train.h"

namespace atl::train {

struct EvaluationSettings {
  int threads = 0;    // of loading and matching; 0: all available
  int64_t batch = 1;  // images at a time
  int batches_ahead = 4;
  int64_t max_bad_images = 10;                         // of all ranks together
  std::string bad_limit_name = "data.max_bad_images";  // what that is set by, for the error's hint
  // The ranks that share the images, each evaluating whole batches, so that what a model sees does not
  // depend on how many there are; null: one process. All must call evaluate() together.
  parallel::Group* group = nullptr;
  // Whether any rank is to stop; asked by all ranks together. Empty: the token of evaluate(), on any rank.
  std::function<Result<bool>()> stop_anywhere;
};

struct EvaluationResult {
  eval::Evaluation evaluation;          // rank 0's; empty on the others, as is the next one
  std::vector<std::string> bad_images;  // count as images without detections
};

// Indices of the split's images, each once, up to `batch` together. What a model sees in an image
// depends on how far it is padded (0.775 against 0.746 AP, measured on eight photos), so only images
// of one padded size go together: the numbers are the same with every batch size.
std::vector<std::vector<int64_t>> evaluation_batches(const Split& split,
                                                     const model::ModelConfig& model,
                                                     int64_t batch);

// Batches that each rank evaluates until all meet again, of which one takes so long in the mean (0: nobody
// knows yet): work for about a second, so that a stop is heard soon, where batches are long after each one; few
// enough that rank 0's memory stays small; and no fewer, so that ranks do not wait for each other's slower
// images.
int64_t batches_in_round(double seconds_a_batch);

// `predictions` collects the detections, on rank 0; null where nobody wants them. kCancelled when stopped,
// on any rank.
Result<EvaluationResult> evaluate(model::MaskRcnn& model,
                                  const model::CategoryMap& categories,
                                  Split& split,
                                  const EvaluationSettings& settings,
                                  PredictionsFile* predictions,
                                  const Console& console,
                                  const std::stop_token& stop,
                                  trace::Tracer* tracer);

// The tables, line by line.
void print_tables(const eval::Evaluation& evaluation, const Console& console);

// "bbox AP 0.412, segm AP 0.388".
std::string headline(const eval::Evaluation& evaluation);
// What the best model is chosen by: mask AP.
double main_ap(const eval::Evaluation& evaluation);

// eval.json and predictions.json.
Result<void> write_evaluation(storage::ObjectStore& store,
                              const eval::Evaluation& evaluation,
                              PredictionsFile predictions);

// How the command line sets EvaluateOptions::max_bad_images.
inline constexpr const char* kMaxBadImagesOption = "--max-bad-images";

// run_evaluation() of a run's checkpoints.
Result<std::string> evaluate_run(const EvaluateOptions& options,
                                 const Console& console,
                                 const std::stop_token& stop);

// The first `count` pictures of the split with what the model sees in them, under pictures/.
Result<void> write_pictures(model::MaskRcnn& model,
                            const model::CategoryMap& categories,
                            Split& split,
                            size_t count,
                            storage::ObjectStore& store);

}  // namespace atl::train
