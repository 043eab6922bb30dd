// atoll data: what a dataset holds (stats), what is wrong with it (validate), and its index.
#include <fmt/format.h>

#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/parallel.h"
#include "cli/cache_folder.h"
#include "cli/command.h"
#include "cli/data_splits.h"
#include "cli/image_progress.h"
#include "cli/tfrecord_splits.h"
#include "dataset/coco.h"
#include "dataset/index.h"
#include "dataset/layout.h"
#include "dataset/stats.h"
#include "dataset/tfrecord_shards.h"
#include "dataset/validate.h"

namespace atl::cli {
namespace {

using dataset::Problem;
using dataset::SplitLocation;

constexpr const char* kStatsFooter =
    "Reads the annotations only, no picture. Without --annotations both splits are shown.\n"
    "\n"
    "Examples:\n"
    "  atoll data stats --data mydata\n"
    "  atoll data stats --data coco --annotations annotations/instances_val2017.json\n"
    "  atoll data stats --data mydata --json > stats.json";

constexpr const char* kValidateFooter =
    "Opens every picture and looks at every record. Problems are what training would fail on, "
    "leave\n"
    "out or learn wrong: missing, broken or mismatched pictures, bad records, unknown ids, "
    "polygons and\n"
    "boxes that leave the picture, objects without a pixel. The exit code is 0 when there are "
    "none, 1\n"
    "when there are some, 2 when the annotations cannot be read at all.\n"
    "\n"
    "Examples:\n"
    "  atoll data validate --data mydata\n"
    "  atoll data validate --data mydata --annotations labels.json --images pictures\n"
    "  atoll data validate --data coco --quick\n"
    "  atoll data validate --data mydata --json > problems.json";

// "1 image", "2 images".
std::string counted(int64_t count, std::string_view one, std::string_view more) {
  return fmt::format("{} {}", count, count == 1 ? one : more);
}

// Of the notes of one kind, so many are shown unless all are asked for.
constexpr int kShownNotes = 3;

struct DataOptions {
  std::string data;
  std::string annotations;
  std::string images;
  bool json = false;
  bool quick = false;
  bool all = false;
  int threads = 0;
};

void show_stats(const std::string& name,
                const dataset::CocoDataset& dataset,
                const DataOptions& options,
                nlohmann::ordered_json& document) {
  const auto stats = dataset::dataset_stats(dataset);
  if (options.json) {
    document[name] = nlohmann::ordered_json::parse(dataset::stats_json(stats));
  } else {
    fmt::print("{}\n{}\n", name, dataset::stats_table(stats));
  }
}

// Damaged records are named, and no reason not to look at the rest.
TfrecordSplitOptions split_options(const DataOptions& options) {
  return {.uri = options.data,
          .pattern = options.annotations,
          .threads = options.threads,
          .max_bad_records = std::numeric_limits<int64_t>::max()};
}

Result<void> coco_stats(const DataOptions& options, nlohmann::ordered_json& document) {
  const auto store = ATOLL_TRY(storage::open_store(options.data));
  for (const SplitLocation& split : ATOLL_TRY(chosen_splits(*store, options.annotations))) {
    dataset::OpenAnnotationsOptions open;
    open.cache_folder = cache_folder();
    open.mode = dataset::CocoDataset::Mode::kLenient;
    open.note = [](const std::string& note) { fmt::print(stderr, "{}\n", note); };
    const auto parsed = ATOLL_TRY(dataset::open_annotations(*store, split.annotations, open));
    if (parsed.issue_count() > 0) {
      fmt::print(stderr,
                 "{}: {} bad records or polygons are left out, the first: {} (\"atoll data "
                 "validate\" lists all)\n",
                 split.annotations,
                 parsed.issue_count(),
                 parsed.issues().front());
    }
    show_stats(split.annotations, parsed, options, document);
  }
  return {};
}

Result<int> run_stats(const DataOptions& options) {
  nlohmann::ordered_json document = nlohmann::ordered_json::object();
  if (dataset::is_tfrecord_uri(options.data)) {
    auto splits = split_options(options);
    splits.cache_folder = cache_folder();
    ATOLL_TRY(for_each_tfrecord_split(splits, [&](const TfrecordSplit& split) -> Result<void> {
      show_stats(split.records.pattern, split.records.dataset, options, document);
      return {};
    }));
  } else {
    ATOLL_TRY(coco_stats(options, document));
  }
  if (options.json) fmt::print("{}\n", document.dump(2));
  return 0;
}

const char* severity_name(Problem::Severity severity) {
  return severity == Problem::Severity::kProblem ? "problem" : "note";
}

nlohmann::ordered_json report_json(const dataset::ValidationReport& report,
                                   const SplitLocation& split) {
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const Problem& problem : report.findings) {
    findings.push_back({{"severity", severity_name(problem.severity)},
                        {"kind", dataset::problem_kind_name(problem.kind)},
                        {"file", problem.file},
                        {"record", problem.record},
                        {"message", problem.message}});
  }
  return {{"annotations_file", split.annotations},
          {"image_prefix", split.image_prefix},
          {"images", report.images},
          {"annotations", report.annotations},
          {"categories", report.categories},
          {"problems", report.count(Problem::Severity::kProblem)},
          {"notes", report.count(Problem::Severity::kInfo)},
          {"findings", std::move(findings)}};
}

void print_finding(const Problem& problem) {
  fmt::print("{}: {}: {}{}{}{}\n",
             severity_name(problem.severity),
             dataset::problem_kind_name(problem.kind),
             problem.file,
             problem.record.empty() ? "" : ": ",
             problem.record,
             problem.message.empty() ? "" : ": " + problem.message);
}

// `pictures`: where they are, in words.
void print_report(const dataset::ValidationReport& report,
                  const SplitLocation& split,
                  std::string_view pictures,
                  bool all_notes) {
  std::map<Problem::Kind, int64_t> notes;
  std::map<Problem::Kind, int64_t> problems;
  for (const Problem& problem : report.findings) {
    const bool note = problem.severity == Problem::Severity::kInfo;
    const int64_t number = ++(note ? notes : problems)[problem.kind];
    if (!note || all_notes || number <= kShownNotes) print_finding(problem);
  }
  for (const auto& [kind, count] : notes) {
    if (all_notes || count <= kShownNotes) continue;
    fmt::print("note: {}: {} more (--all shows them)\n",
               dataset::problem_kind_name(kind),
               count - kShownNotes);
  }
  std::string kinds;
  for (const auto& [kind, count] : problems) {
    kinds += fmt::format(
        "{}{} {}", kinds.empty() ? ": " : ", ", count, dataset::problem_kind_name(kind));
  }
  fmt::print("{} with {}: {}, {}, {}; {}{}; {}\n",
             split.annotations,
             pictures,
             counted(report.images, "image", "images"),
             counted(report.annotations, "annotation", "annotations"),
             counted(report.categories, "category", "categories"),
             counted(report.count(Problem::Severity::kProblem), "problem", "problems"),
             kinds,
             counted(report.count(Problem::Severity::kInfo), "note", "notes"));
}

// Shows or collects the reports of the splits, whatever they were read from.
struct Validation {
  const DataOptions& options;
  nlohmann::ordered_json sets = nlohmann::ordered_json::array();
  bool clean = true;

  dataset::ValidateOptions validate_options(ImageProgress& progress) const {
    dataset::ValidateOptions validate;
    validate.decode = !options.quick;
    validate.threads = options.threads > 0 ? options.threads : available_cpus();
    validate.progress = [&](int64_t done, int64_t total) { progress.update(done, total); };
    return validate;
  }
  void add(const dataset::ValidationReport& report,
           const SplitLocation& split,
           std::string_view pictures) {
    clean = clean && report.clean();
    if (options.json) {
      sets.push_back(report_json(report, split));
    } else {
      print_report(report, split, pictures, options.all);
    }
  }
};

Result<void> validate_coco(Validation& validation) {
  const DataOptions& options = validation.options;
  const auto store = ATOLL_TRY(storage::open_store(options.data));
  for (SplitLocation split : ATOLL_TRY(chosen_splits(*store, options.annotations))) {
    if (!options.images.empty()) {
      split.image_prefix = options.images == "." ? "" : options.images;
      if (!split.image_prefix.empty() && !split.image_prefix.ends_with('/'))
        split.image_prefix += '/';
    } else {
      split.image_prefix =
          ATOLL_TRY(dataset::locate_images(*store, split.annotations)).image_prefix;
    }
    ImageProgress progress("validate");
    const auto report = ATOLL_TRY(dataset::validate(
        *store, split.annotations, split.image_prefix, validation.validate_options(progress)));
    progress.finish();
    validation.add(
        report, split, split.image_prefix.empty() ? "the images beside it" : split.image_prefix);
  }
  return {};
}

// Damaged records and missing shards are problems, too.
Result<void> validate_records(Validation& validation) {
  // Without an index, for every record is to be looked at.
  const auto visit = [&](TfrecordSplit split) -> Result<void> {
    dataset::TfrecordDataset& records = split.records;
    std::vector<Problem> findings;
    for (const std::string& name : records.missing_shards) {
      findings.push_back({Problem::Severity::kProblem,
                          Problem::Kind::kMissingFile,
                          name,
                          "",
                          "the shard is not there"});
    }
    for (const std::string& bad : records.bad_records) {
      const size_t colon = bad.find(": ");
      findings.push_back({Problem::Severity::kProblem,
                          Problem::Kind::kRecord,
                          bad.substr(0, colon),
                          "",
                          bad.substr(colon + 2)});
    }
    ImageProgress progress("validate");
    const auto report = ATOLL_TRY(dataset::validate(*records.store,
                                                    std::move(records.dataset),
                                                    std::move(findings),
                                                    records.pattern,
                                                    validation.validate_options(progress)));
    progress.finish();
    validation.add(report, {records.pattern, "", ""}, "the images in it");
    return {};
  };
  return for_each_tfrecord_split(split_options(validation.options), visit);
}

Result<int> run_validate(const DataOptions& options) {
  Validation validation{options};
  if (dataset::is_tfrecord_uri(options.data)) {
    ATOLL_TRY(validate_records(validation));
  } else {
    ATOLL_TRY(validate_coco(validation));
  }
  if (options.json) {
    const nlohmann::ordered_json document = {{"clean", validation.clean},
                                             {"sets", std::move(validation.sets)}};
    fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return validation.clean ? 0 : 1;
}

void add_common_options(CLI::App* command, const std::shared_ptr<DataOptions>& options) {
  command->add_option("--data", options->data, "Dataset's directory, or tfrecord:DIR")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--annotations",
                   options->annotations,
                   "JSON below the dataset's directory, where the layout is another one")
      ->type_name("FILE");
  command->add_flag("--json", options->json, "Print JSON instead of text");
}

}  // namespace

void add_data(CLI::App& app, CommandContext& context) {
  CLI::App* data = app.add_subcommand("data", "Look a dataset over, convert or index it");
  data->require_subcommand(1);

  const auto stats_options = std::make_shared<DataOptions>();
  CLI::App* stats = data->add_subcommand("stats", "Count images, objects, sizes and classes");
  add_common_options(stats, stats_options);
  stats->footer(kStatsFooter);
  context.on_run(stats, [stats_options] { return run_stats(*stats_options); });

  const auto options = std::make_shared<DataOptions>();
  CLI::App* validate = data->add_subcommand("validate", "List every problem of a dataset");
  add_common_options(validate, options);
  validate
      ->add_option("--images",
                   options->images,
                   "Its images' directory below the dataset's; . for that itself")
      ->type_name("DIR");
  validate->add_flag("--quick", options->quick, "Read the pictures' headers only");
  validate->add_flag("--all", options->all, "Show every note, not only the first few of each kind");
  validate->add_option("--threads", options->threads, "Threads; 0: one for each processor")
      ->type_name("N")
      ->check(whole_number());
  validate->footer(kValidateFooter);
  context.on_run(validate, [options] { return run_validate(*options); });
  add_data_convert(*data, context);
  add_data_preview(*data, context);
  add_data_index(*data, context);
}

}  // namespace atl::cli
