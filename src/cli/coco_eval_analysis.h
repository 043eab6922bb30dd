// The parts of `atoll coco-eval` that come after the numbers: --analysis and --curves.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "eval/curves_html.h"
#include "eval/eval.h"
#include "eval/results_file.h"

namespace atl::cli {

struct AnalysisOptions {
  bool analysis = false;
  std::optional<double> score_threshold;  // else each category's own
  std::string curves;                     // where the picture goes; empty: nowhere

  void add_to(CLI::App& command);
  Result<void> check() const;
};

// What was evaluated.
struct Scored {
  const dataset::CocoDataset& ground_truth;
  std::vector<dataset::Category> categories;  // of the evaluation
  std::vector<eval::KindCurves> kinds;
  std::string title;
  int max_detections = 100;
  int threads = 0;
  bool with_confusion = true;  // its categories are the ground truth's, and all are marked
};

// Prints and writes what was asked for. Gives back members for the JSON file, or nothing.
Result<std::string> analyse(const AnalysisOptions& options,
                            const Scored& scored,
                            const eval::ResultsFile& results);

}  // namespace atl::cli
