#include "cli/coco_eval_analysis.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/analysis.h"
#include "storage/storage.h"

namespace atl::cli {

void AnalysisOptions::add_to(CLI::App& command) {
  command.add_flag("--analysis",
                   analysis,
                   "For each category the score with the highest F1, and what is taken for what");
  command
      .add_option("--score-threshold",
                  score_threshold,
                  "Count confusions from this score on, not from each category's own")
      ->type_name("SCORE");
  command.add_option("--curves", curves, "Draw precision over recall into this HTML file")
      ->type_name("FILE|URI");
}

Result<void> AnalysisOptions::check() const {
  if (score_threshold && !analysis) {
    return fail(ErrorCode::kInvalidInput, "--score-threshold needs --analysis");
  }
  return {};
}

Result<std::string> analyse(const AnalysisOptions& options,
                            const Scored& scored,
                            const eval::ResultsFile& results) {
  std::string further;
  if (options.analysis) {
    std::vector<eval::KindAnalysis> kinds;
    const auto all = scored.with_confusion ? results.detections() : std::vector<eval::Detection>();
    for (const auto& [kind, curves] : scored.kinds) {
      kinds.push_back({kind, curves, std::nullopt});
      if (!scored.with_confusion) continue;
      auto thresholds = eval::score_thresholds(*curves);
      if (options.score_threshold) {
        std::fill(thresholds.begin(), thresholds.end(), *options.score_threshold);
      }
      kinds.back().confusion = eval::confuse(
          scored.ground_truth,
          all,
          std::move(thresholds),
          {.kind = kind, .max_detections = scored.max_detections, .threads = scored.threads});
    }
    fmt::print("\n{}", eval::analysis_table(scored.categories, kinds));
    further = eval::analysis_json(scored.categories, kinds);
  }
  if (!options.curves.empty()) {
    const storage::Location out = ATOLL_TRY(storage::open_location(options.curves));
    const std::string html = eval::curves_html(scored.title, scored.categories, scored.kinds);
    ATOLL_TRY_CONTEXT(storage::put_text(*out.store, out.key, html), "writing the curves");
  }
  return further;
}

}  // namespace atl::cli
