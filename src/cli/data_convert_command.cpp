// atoll data convert: COCO JSON and pictures to sharded TFRecords, and back.
#include <fmt/format.h>

#include <array>
#include <cctype>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/parallel.h"
#include "cli/command.h"
#include "cli/image_progress.h"
#include "cli/tfrecord_splits.h"
#include "dataset/coco.h"
#include "dataset/layout.h"
#include "dataset/tfrecord_convert.h"
#include "dataset/tfrecord_shards.h"

namespace atl::cli {
namespace {

using dataset::SplitLocation;

constexpr const char* kFooter =
    "One of --data and --out begins with tfrecord:, the other is in COCO's layout. Both splits "
    "are\n"
    "converted, or what --annotations names. The records are in the schema of TensorFlow's object\n"
    "detection API, masks as PNG; docs/tfrecord.md says what it cannot hold.\n"
    "\n"
    "A conversion that was stopped goes on when it is started again: what is finished is checked\n"
    "and kept.\n"
    "\n"
    "Examples:\n"
    "  atoll data convert --data coco --out tfrecord:records\n"
    "  atoll data convert --data coco --out tfrecord:records --shards 256 --val-shards 32\n"
    "  atoll data convert --data tfrecord:records --out coco\n"
    "  atoll data convert --data 'tfrecord:records/val-*.tfrecord' --out coco\n"
    "\n"
    "Then: atoll train --data tfrecord:records --out runs/first";

struct Options {
  std::string data;
  std::string out;
  std::string annotations;
  std::string images;
  int64_t shards = 0;
  int64_t val_shards = 0;
  int64_t max_bad_images = 0;
  int threads = 0;
  bool overwrite = false;
};

dataset::ConvertOptions convert_options(const Options& options, std::stop_token stop) {
  return {.threads = options.threads > 0 ? options.threads : available_cpus(),
          .max_bad_images = options.max_bad_images,
          .overwrite = options.overwrite,
          .progress = {},
          .stop = std::move(stop)};
}

// Of files that an earlier call has finished.
std::string kept_text(const dataset::ConvertResult& result) {
  if (result.kept_files == 0) return "";
  if (result.kept_files == result.files) return ", all written before";
  return fmt::format(", {} of them written before", result.kept_files);
}

void say_done(const std::string& target,
              const dataset::ConvertResult& result,
              std::string_view file,
              const ImageProgress& progress) {
  for (const std::string& bad : result.bad_images) fmt::print(stderr, "skipped: {}\n", bad);
  fmt::print(
      "{}: {} in {}{}{}, in {}\n",
      target,
      format_count(static_cast<uint64_t>(result.images), "image"),
      format_count(static_cast<uint64_t>(result.files), file),
      kept_text(result),
      result.bad_images.empty() ? "" : fmt::format(", {} left out", result.bad_images.size()),
      format_duration(progress.elapsed()));
}

// "train" for annotations/instances_train2017.json, "val" likewise; else the JSON's name.
std::string records_name(std::string_view annotations_key) {
  std::string_view name = annotations_key;
  // Roboflow's valid/_annotations.coco.json is called by its folder.
  if (const size_t at = name.rfind("/_annotations"); at != std::string_view::npos) {
    name = name.substr(0, at);
  }
  name = name.substr(name.rfind('/') + 1);
  name = name.substr(0, name.find('.'));
  if (name.starts_with("instances_")) name.remove_prefix(10);
  const std::string_view plain = name.substr(0, name.find_last_not_of("0123456789") + 1);
  if (plain == "train") return "train";
  if (plain == "val" || plain == "valid") return "val";
  return std::string(name);
}

Result<std::vector<SplitLocation>> coco_splits(storage::ObjectStore& store,
                                               const Options& options) {
  const auto with_images = [&](SplitLocation location) -> Result<SplitLocation> {
    if (options.images.empty()) {
      location.image_prefix =
          ATOLL_TRY(dataset::locate_images(store, location.annotations)).image_prefix;
    } else {
      location.image_prefix = options.images == "." ? "" : options.images;
      if (!location.image_prefix.empty() && !location.image_prefix.ends_with('/')) {
        location.image_prefix += '/';
      }
    }
    return location;
  };
  if (!options.annotations.empty()) {
    return std::vector{ATOLL_TRY(with_images({options.annotations, "", ""}))};
  }
  std::vector<SplitLocation> splits;
  for (const dataset::Split split : {dataset::Split::kTrain, dataset::Split::kVal}) {
    const auto found = ATOLL_TRY(dataset::find_annotations(store, split));
    if (!found || (!splits.empty() && splits.front().annotations == found->annotations)) continue;
    splits.push_back(ATOLL_TRY(with_images(*found)));
  }
  // Says what was looked for.
  if (splits.empty())
    splits.push_back(ATOLL_TRY(dataset::find_split(store, dataset::Split::kTrain)));
  return splits;
}

Result<int> to_tfrecords(const Options& options, const std::stop_token& stop) {
  const auto target = ATOLL_TRY(dataset::parse_tfrecord_uri(options.out));
  if (!target.pattern.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} names files, not a directory", options.out),
                fmt::format("write tfrecord:{}", target.directory));
  }
  const auto store = ATOLL_TRY(storage::open_store(options.data));
  const auto splits = ATOLL_TRY(coco_splits(*store, options));
  const auto out = ATOLL_TRY(storage::open_store(target.directory, /*for_writing=*/true));
  for (const SplitLocation& split : splits) {
    const auto json = ATOLL_TRY_CONTEXT(store->get(split.annotations), "reading annotations");
    const auto dataset = ATOLL_TRY(dataset::CocoDataset::parse(
        json.text(), fmt::format("{}/{}", store->uri(), split.annotations)));
    dataset::ShardedTarget sharded;
    sharded.name = records_name(split.annotations);
    sharded.shards = sharded.name == "val" ? options.val_shards : options.shards;
    sharded.fingerprint = fmt::format("{}-{:08x}", json.size(), crc32c(json.bytes()));
    auto convert = convert_options(options, stop);
    ImageProgress progress("convert");
    convert.progress = [&](int64_t done, int64_t total) { progress.update(done, total); };
    const auto result = ATOLL_TRY(
        dataset::coco_to_tfrecords(dataset, *store, split.image_prefix, *out, sharded, convert));
    progress.finish();
    say_done(fmt::format("tfrecord:{}/{}-*.tfrecord", out->uri(), sharded.name),
             result,
             "file",
             progress);
  }
  return 0;
}

Result<int> to_coco(const Options& options, const std::stop_token& stop) {
  if (!options.images.empty() || options.shards > 0 || options.val_shards > 0) {
    return fail(ErrorCode::kInvalidInput,
                "--images, --shards and --val-shards are for a conversion to TFRecords");
  }
  const auto out = ATOLL_TRY(storage::open_store(options.out, /*for_writing=*/true));
  const TfrecordSplitOptions splits{.uri = options.data,
                                    .pattern = options.annotations,
                                    .threads = options.threads,
                                    .max_bad_records = options.max_bad_images,
                                    .bad_limit_name = "--max-bad-images",
                                    .stop = stop};
  ATOLL_TRY(for_each_tfrecord_split(splits, [&](const TfrecordSplit& split) -> Result<void> {
    // Names that find_split() knows.
    std::string annotations = "annotations/instances_default.json";
    std::string images = "images/";
    if (!split.both) {
      const char* name = split.split == dataset::Split::kTrain ? "train2017" : "val2017";
      annotations = fmt::format("annotations/instances_{}.json", name);
      images = fmt::format("{}/", name);
    }
    auto convert = convert_options(options, stop);
    ImageProgress progress("convert");
    convert.progress = [&](int64_t done, int64_t total) { progress.update(done, total); };
    auto result =
        ATOLL_TRY(dataset::tfrecords_to_coco(split.records, *out, annotations, images, convert));
    progress.finish();
    result.bad_images.clear();  // they have been named when the records were looked over
    say_done(fmt::format("{}/{}", out->uri(), annotations), result, "picture", progress);
    return {};
  }));
  return 0;
}

Result<int> run(const Options& options, CommandContext& context) {
  const bool from_records = dataset::is_tfrecord_uri(options.data);
  if (from_records == dataset::is_tfrecord_uri(options.out)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} of --data and --out begin with tfrecord:",
                            from_records ? "both" : "neither"),
                "to TFRecords: --out tfrecord:DIR; back: --data tfrecord:DIR");
  }
  const std::stop_token stop = context.stop();
  return from_records ? to_coco(options, stop) : to_tfrecords(options, stop);
}

}  // namespace

void add_data_convert(CLI::App& data, CommandContext& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      data.add_subcommand("convert", "COCO JSON and pictures to TFRecords, and back");
  command->add_option("--data", options->data, "Dataset's directory, or tfrecord:DIR")
      ->required()
      ->type_name("DIR");
  command->add_option("--out", options->out, "Where to: tfrecord:DIR, or a directory")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--annotations",
                   options->annotations,
                   "Only this JSON below --data, or these record files ('*' and '?' allowed)")
      ->type_name("FILE");
  command->add_option("--images", options->images, "Its images' directory below --data")
      ->type_name("DIR");
  command
      ->add_option("--shards", options->shards, "Files of the training split [one for 512 images]")
      ->type_name("N")
      ->check(whole_number(1));
  command->add_option("--val-shards", options->val_shards, "Files of the validation split")
      ->type_name("N")
      ->check(whole_number(1));
  command->add_option("--max-bad-images", options->max_bad_images, "Unreadable images to leave out")
      ->type_name("N")
      ->check(whole_number())
      ->capture_default_str();
  command->add_flag("--overwrite", options->overwrite, "Replace what is there and is another's");
  command->add_option("--threads", options->threads, "Threads; 0: one for each processor")
      ->type_name("N")
      ->check(whole_number());
  command->footer(kFooter);
  context.on_run(command, [options, &context] { return run(*options, context); });
}

}  // namespace atl::cli
