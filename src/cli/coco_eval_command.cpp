// atoll coco-eval: the numbers of COCO or LVIS for a results file, those of pycocotools or lvis.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "cli/coco_eval_analysis.h"
#include "cli/command.h"
#include "cli/image_progress.h"
#include "dataset/coco.h"
#include "eval/eval.h"
#include "eval/lvis.h"
#include "eval/results_file.h"
#include "storage/storage.h"

namespace atl::cli {
namespace {

struct CocoEvalOptions {
  std::string ground_truth;
  std::string detections;
  std::vector<std::string> kinds = {"bbox", "segm"};
  std::string json;
  bool per_category = false;
  bool no_categories = false;
  bool strict_pycocotools = false;
  bool lenient = false;
  bool lvis = false;
  std::vector<int> max_detections;  // empty: {1, 10, 100}, or LVIS' 300
  int threads = 0;
  AnalysisOptions analysis;
};

Result<void> check(const CocoEvalOptions& options) {
  const size_t count = options.max_detections.size();
  if (options.lenient && options.strict_pycocotools) {
    return fail(ErrorCode::kInvalidInput, "--lenient and --strict-pycocotools exclude each other");
  }
  if (options.lvis && options.no_categories) {
    return fail(ErrorCode::kInvalidInput, "--lvis and --no-categories exclude each other");
  }
  if (count != 0 && count != (options.lvis ? 1U : 3U)) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("--max-detections has {} numbers", count),
        options.lvis ? "with --lvis give one, such as 300" : "give three, such as 1,10,100");
  }
  return options.analysis.check();
}

Result<storage::Blob> read(const std::string& uri) {
  const storage::Location location = ATOLL_TRY(storage::open_location(uri));
  return location.store->get(location.key);
}

struct GroundTruth {
  dataset::CocoDataset dataset;
  eval::LvisAnnotations lvis;  // empty without --lvis
};

Result<GroundTruth> read_ground_truth(const CocoEvalOptions& options) {
  const std::string& uri = options.ground_truth;
  const storage::Blob blob = ATOLL_TRY_CONTEXT(read(uri), "reading the ground truth");
  GroundTruth truth;
  const auto mode =
      options.lenient ? dataset::CocoDataset::Mode::kLenient : dataset::CocoDataset::Mode::kStrict;
  truth.dataset = ATOLL_TRY(dataset::CocoDataset::parse(blob.text(), uri, mode));
  if (options.lvis) truth.lvis = ATOLL_TRY(eval::parse_lvis(blob.text(), uri, truth.dataset));
  return truth;
}

eval::BadResults bad_results(const CocoEvalOptions& options) {
  return options.lenient              ? eval::BadResults::kLeaveOut
         : options.strict_pycocotools ? eval::BadResults::kAsPycocotools
                                      : eval::BadResults::kRefuse;
}

struct Inputs {
  GroundTruth truth;
  storage::Blob results_text;
  std::optional<eval::ResultsFile> results;
};

// The results' records are read while the ground truth is.
Result<Inputs> read_inputs(const CocoEvalOptions& options) {
  Inputs inputs;
  auto text = read(options.detections);
  std::future<eval::ResultsFile> scan;
  if (text) {
    inputs.results_text = *text;
    scan = std::async(std::launch::async, [&] {
      return eval::ResultsFile(inputs.results_text.text(), options.detections, options.threads);
    });
  }
  inputs.truth = ATOLL_TRY(read_ground_truth(options));
  if (!text) return tl::unexpected(std::move(text).error().with_context("reading the results"));
  inputs.results = scan.get();
  ATOLL_TRY(inputs.results->resolve(inputs.truth.dataset, bad_results(options)));
  return inputs;
}

std::vector<eval::IouKind> kinds_of(const CocoEvalOptions& options) {
  std::vector<eval::IouKind> kinds;
  for (const std::string& kind : options.kinds) {
    kinds.push_back(kind == "bbox"   ? eval::IouKind::kBox
                    : kind == "segm" ? eval::IouKind::kMask
                                     : eval::IouKind::kBoundary);
  }
  return kinds;
}

eval::EvalOptions coco_options(const CocoEvalOptions& options) {
  eval::EvalOptions result;
  result.kinds = kinds_of(options);
  if (!options.max_detections.empty()) {
    std::ranges::copy_n(options.max_detections.begin(), 3, result.max_detections.begin());
  }
  result.use_categories = !options.no_categories;
  result.strict_pycocotools = options.strict_pycocotools;
  result.threads = options.threads;
  return result;
}

eval::LvisOptions lvis_options(const CocoEvalOptions& options) {
  eval::LvisOptions result;
  result.kinds = kinds_of(options);
  if (!options.max_detections.empty()) result.max_detections = options.max_detections[0];
  result.strict_pycocotools = options.strict_pycocotools;
  result.threads = options.threads;
  return result;
}

void warn(const CocoEvalOptions& options, const Inputs& inputs) {
  const dataset::CocoDataset& truth = inputs.truth.dataset;
  if (truth.issue_count() > 0) {
    fmt::print(stderr,
               "atoll: {}: {} bad records or polygons are left out, the first: {}\n",
               options.ground_truth,
               truth.issue_count(),
               truth.issues().front());
  }
  const eval::ResultsFile& results = *inputs.results;
  for (const eval::BadResultCount& bad : results.bad()) {
    if (bad.count == 0) continue;
    fmt::print(stderr,
               "atoll: {} results {}, the first of them is {}\n",
               bad.count,
               options.lenient ? "are left out" : "match nothing, as in pycocotools",
               bad.first);
  }
  if (results.size() == 0) {
    fmt::print(stderr, "atoll: {} has no detections: AP is 0\n", options.detections);
  }
}

// Prints the tables, and gives back what goes into --json.
template <typename Evaluation>
Result<std::string> show(const CocoEvalOptions& options,
                         const Inputs& inputs,
                         const Evaluation& evaluation,
                         int max_detections) {
  fmt::print("{}", evaluation.table());
  if (options.per_category) fmt::print("\n{}", evaluation.category_table());
  Scored scored{.ground_truth = inputs.truth.dataset,
                .categories = evaluation.categories,
                .kinds = {},
                .title = fmt::format("{} against {}", options.detections, options.ground_truth),
                .max_detections = max_detections,
                .threads = options.threads,
                .with_confusion = !options.lvis && !options.no_categories};
  for (const auto& [kind, result] : evaluation.kinds) scored.kinds.push_back({kind, &result});
  return evaluation.to_json(ATOLL_TRY(analyse(options.analysis, scored, *inputs.results)));
}

// Shows how far it is where that takes long: most evaluations are over before anyone looks.
class LongProgress {
 public:
  std::function<void(size_t done, size_t total)> updates() {
    return [this](size_t done, size_t total) {
      if (bar_.elapsed() < std::chrono::seconds(2)) return;
      bar_.update(static_cast<int64_t>(done), static_cast<int64_t>(total));
    };
  }
  void finish() { bar_.finish(); }

 private:
  ImageProgress bar_{"coco-eval"};
};

Result<std::string> evaluate(const CocoEvalOptions& options, const Inputs& inputs) {
  const dataset::CocoDataset& truth = inputs.truth.dataset;
  LongProgress progress;
  if (options.lvis) {
    auto lvis = lvis_options(options);
    lvis.progress = progress.updates();
    const auto evaluation = ATOLL_TRY(
        eval::evaluate_lvis(truth, inputs.truth.lvis, inputs.results->detections(), lvis));
    progress.finish();
    return show(options, inputs, evaluation, evaluation.max_detections);
  }
  auto coco = coco_options(options);
  coco.progress = progress.updates();
  const auto evaluation = eval::evaluate(truth, *inputs.results, std::move(coco));
  progress.finish();
  return show(options, inputs, evaluation, evaluation.max_detections.back());
}

Result<int> run_coco_eval(const CocoEvalOptions& options) {
  ATOLL_TRY(check(options));
  const auto start = std::chrono::steady_clock::now();
  const Inputs inputs = ATOLL_TRY(read_inputs(options));
  const auto loaded = std::chrono::steady_clock::now();
  warn(options, inputs);

  const dataset::CocoDataset& truth = inputs.truth.dataset;
  const std::string json = ATOLL_TRY(evaluate(options, inputs));
  fmt::print(stderr,
             "{} images, {} ground truths, {} detections: loaded in {}, evaluated in {}\n",
             truth.images().size(),
             truth.annotations().size(),
             inputs.results->size(),
             format_duration(loaded - start),
             format_duration(std::chrono::steady_clock::now() - loaded));
  if (!options.json.empty()) {
    const storage::Location out = ATOLL_TRY(storage::open_location(options.json));
    ATOLL_TRY_CONTEXT(storage::put_text(*out.store, out.key, json), "writing the numbers");
  }
  return 0;
}

}  // namespace

void add_coco_eval(CLI::App& app, CommandContext& context) {
  const auto options = std::make_shared<CocoEvalOptions>();
  CLI::App& command =
      *app.add_subcommand("coco-eval", "Score a COCO results file: pycocotools' numbers, fast");
  command.add_option("--gt", options->ground_truth, "Ground truth, COCO JSON")
      ->required()
      ->type_name("FILE|URI");
  command.add_option("--dt", options->detections, "Detections, COCO results JSON")
      ->required()
      ->type_name("FILE|URI");
  command.add_option("--iou", options->kinds, "What to compare: bbox, segm, boundary")
      ->delimiter(',')
      ->check(CLI::IsMember({"bbox", "segm", "boundary"}))
      ->type_name("KIND,…")
      ->capture_default_str();
  command.add_option("--json", options->json, "Write all digits here, as eval.json")
      ->type_name("FILE|URI");
  command.add_flag("--per-category", options->per_category, "Print AP for each category, too");
  command.add_flag("--no-categories", options->no_categories, "Ignore categories (useCats = 0)");
  command.add_flag("--lenient",
                   options->lenient,
                   "Leave out and count what cannot be scored, instead of stopping at the first: "
                   "results of unknown images or categories, damaged masks, negative sizes, and "
                   "bad records of the ground truth, such as polygons of two points");
  command.add_flag("--strict-pycocotools",
                   options->strict_pycocotools,
                   "As pycocotools where it is odd: ids of 0, and results that cannot match");
  command.add_flag(
      "--lvis", options->lvis, "LVIS' rules and 13 numbers, those of the lvis package");
  command
      .add_option("--max-detections",
                  options->max_detections,
                  "Best detections of an image and category; with --lvis one number, of an image "
                  "[1,10,100; 300]")
      ->delimiter(',')
      ->expected(1, 3)
      ->check(whole_number(1))
      ->type_name("N,N,N");
  command.add_option("--threads", options->threads, "Threads; 0: all")
      ->type_name("N")
      ->check(whole_number());
  options->analysis.add_to(command);
  command.footer(
      "Prints the 12 lines of pycocotools for each kind; a value of -1 means that there is no\n"
      "ground truth of that sort. As there, the first line is the AP at 100 detections an image,\n"
      "and -1 where --max-detections has no 100. The detection of a ground truth whose id is 0\n"
      "counts as false in pycocotools; here only with --strict-pycocotools.\n"
      "docs/evaluation.md says what each number means.\n"
      "\n"
      "Examples:\n"
      "  atoll coco-eval --gt instances_val2017.json --dt predictions.json\n"
      "  atoll coco-eval --gt gt.json --dt dt.json --iou bbox --per-category --json eval.json\n"
      "  atoll coco-eval --gt lvis_v1_val.json --dt predictions.json --lvis\n"
      "  atoll coco-eval --gt gt.json --dt dt.json --iou boundary\n"
      "  atoll coco-eval --gt gt.json --dt dt.json --analysis --curves curves.html");
  context.on_run(&command, [options] { return run_coco_eval(*options); });
}

}  // namespace atl::cli
