// atoll data preview: pictures of what training sees, through the very loader that trains.
//
// Its options are the configuration's keys with dashes, not --set: the parser of the configuration
// belongs to the engine, and to look at a few pictures shall not need LibTorch.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "base/bytes.h"
#include "base/parallel.h"
#include "cli/cache_folder.h"
#include "cli/command.h"
#include "cli/image_progress.h"
#include "dataset/index.h"
#include "dataset/layout.h"
#include "dataset/loader.h"
#include "dataset/picture.h"
#include "dataset/sampler.h"
#include "dataset/tfrecord_dataset.h"
#include "dataset/tfrecord_shards.h"

namespace atl::cli {
namespace {

using dataset::Sample;

constexpr const char* kFooter =
    "Writes JPEGs of training images as they are after all augmentation, with their boxes, masks "
    "and\n"
    "names, and prints what was done to each. The options in brackets are keys of the "
    "configuration with\n"
    "the same defaults; with the same seed, training sees these very pictures in that epoch, but\n"
    "not with repeat factors (data.repeat_factor_threshold), where the step takes its place.\n"
    "\n"
    "Examples:\n"
    "  What training sees by default:\n"
    "    atoll data preview --data mydata --out preview\n"
    "  Large-scale jitter and copy-paste, the same 8 images in 4 epochs:\n"
    "    atoll data preview --data mydata --out preview --images 8 --epochs 4 --lsj-size-px 640 "
    "\\\n"
    "      --copy-paste-probability 1\n"
    "  Colours, without anything drawn over them:\n"
    "    atoll data preview --data mydata --out preview --photometric-probability 1 --plain";

constexpr int kMaxSide_px = 8192;  // larger than any picture is trained at

struct PreviewOptions {
  std::string data;
  std::string annotations;
  std::string out;
  int64_t images = 16;
  int64_t epoch = 0;
  int64_t epochs = 1;
  bool plain = false;
  int threads = 0;
  dataset::LoaderOptions loader;
};

// What the loader made of pixels, as pixels again; without the batch's padding.
dataset::Picture denormalised(const dataset::Batch& batch,
                              size_t index,
                              const dataset::LoaderOptions& options) {
  const auto [width, height] = batch.samples[index].resized;
  dataset::Picture picture{width, height, {}};
  const auto row_size = static_cast<size_t>(batch.width) * 3;
  const size_t plane = index * static_cast<size_t>(batch.height) * row_size;
  for (int y = 0; y < height; ++y) {
    const auto row = batch.pixels.floats().subspan(plane + static_cast<size_t>(y) * row_size);
    for (size_t i = 0; i < static_cast<size_t>(width) * 3; ++i) {
      const float value = row[i] * options.standard_deviation[i % 3] + options.mean[i % 3];
      const long level = std::lround(255.0F * value);
      picture.rgb.push_back(static_cast<uint8_t>(std::clamp(level, 0L, 255L)));
    }
  }
  return picture;
}

std::vector<dataset::Overlay> overlays_of(const Sample& sample, const dataset::CocoDataset& data) {
  std::vector<dataset::Overlay> overlays;
  for (size_t i = 0; i < sample.masks.size(); ++i) {
    const float* const box = &sample.boxes[4 * i];
    const auto category = static_cast<size_t>(sample.labels[i] - 1);
    overlays.push_back({sample.masks[i],
                        {box[0], box[1], box[2] - box[0], box[3] - box[1]},
                        data.categories()[category].name,
                        static_cast<int>(category)});
  }
  return overlays;
}

// "640x480 to 854x640, of that 512x512 at (12, 100), mirrored, pasted from dog.jpg; 3 objects".
std::string description(const Sample& sample, const dataset::CocoDataset& data) {
  const auto size = [](dataset::ImageSize s) { return fmt::format("{}x{}", s.width, s.height); };
  std::string text = fmt::format("{} to {}", size(sample.original), size(sample.scaled));
  if (sample.resized != sample.scaled) {
    text += fmt::format(", of that {} at ({}, {})", size(sample.resized), sample.left, sample.top);
  }
  if (sample.flipped) text += ", mirrored";
  if (!sample.colour.is_identity()) text += ", other colours";
  for (const dataset::Paste& paste : sample.pastes) {
    text += fmt::format(", pasted from {}",
                        data.images()[static_cast<size_t>(paste.image_index)].file_name);
  }
  return text + fmt::format("; {} {}",
                            sample.masks.size(),
                            sample.masks.size() == 1 ? "object" : "objects");
}

// The training split, as JSON beside pictures or as records.
struct OpenData {
  std::unique_ptr<storage::ObjectStore> store;
  dataset::CocoDataset dataset;
  std::string image_prefix;
  std::string name;  // of the annotations, for messages
};

Result<OpenData> open_records(const PreviewOptions& options) {
  dataset::TfrecordOptions open_options;
  open_options.pattern = options.annotations;
  open_options.threads = options.threads > 0 ? options.threads : available_cpus();
  open_options.max_bad_records = std::numeric_limits<int64_t>::max();  // named below
  open_options.cache_folder = cache_folder();
  open_options.note = [](const std::string& note) { fmt::print(stderr, "{}\n", note); };
  auto records = ATOLL_TRY(dataset::open_tfrecords(options.data, open_options));
  for (const std::string& note : records.notes) fmt::print(stderr, "{}\n", note);
  for (const std::string& bad : records.bad_records) fmt::print(stderr, "left out: {}\n", bad);
  return OpenData{std::move(records.store), std::move(records.dataset), "", records.pattern};
}

Result<OpenData> open_data(const PreviewOptions& options) {
  if (dataset::is_tfrecord_uri(options.data)) return open_records(options);
  auto store = ATOLL_TRY(storage::open_store(options.data));
  const auto split =
      ATOLL_TRY(options.annotations.empty() ? dataset::find_split(*store, dataset::Split::kTrain)
                                            : dataset::locate_images(*store, options.annotations));
  if (!split.note.empty()) fmt::print(stderr, "{}\n", split.note);
  dataset::OpenAnnotationsOptions open;
  open.cache_folder = cache_folder();
  open.threads = options.threads;
  open.note = [](const std::string& note) { fmt::print(stderr, "{}\n", note); };
  auto opened = ATOLL_TRY(dataset::open_annotations(*store, split.annotations, open));
  return OpenData{std::move(store), std::move(opened), split.image_prefix, split.annotations};
}

// The images that come first in the epoch.
std::vector<int64_t> chosen_images(const dataset::CocoDataset& data,
                                   const PreviewOptions& options) {
  std::vector<dataset::ImageSize> sizes;
  for (const dataset::Image& image : data.images()) sizes.push_back({image.width, image.height});
  const auto count = std::min(options.images, static_cast<int64_t>(sizes.size()));
  dataset::Sampler sampler(
      std::move(sizes), {.seed = options.loader.seed, .global_batch = 1, .group_by_aspect = false});
  std::vector<int64_t> images;
  for (int64_t i = 0; i < count; ++i) {
    images.push_back(sampler.batch(options.epoch * sampler.batches_per_epoch() + i)[0]);
  }
  return images;
}

Result<int> run_preview(const PreviewOptions& options) {
  ATOLL_TRY(dataset::validate(options.loader.augment));
  const OpenData opened = ATOLL_TRY(open_data(options));
  const dataset::CocoDataset& data = opened.dataset;
  if (data.images().empty()) {
    return fail(ErrorCode::kInvalidInput, fmt::format("{}: no images", opened.name));
  }
  const auto out = ATOLL_TRY(storage::open_store(options.out, /*for_writing=*/true));
  const std::vector<int64_t> images = chosen_images(data, options);
  const auto per_epoch = static_cast<int64_t>(images.size());
  const int64_t total = per_epoch * options.epochs;

  dataset::LoaderOptions loader_options = options.loader;
  loader_options.threads = options.threads > 0 ? options.threads : available_cpus();
  loader_options.max_bad_images = static_cast<int64_t>(data.images().size());
  dataset::Loader loader(
      data,
      *opened.store,
      opened.image_prefix,
      loader_options,
      [&](int64_t step) -> std::optional<std::vector<int64_t>> {
        if (step >= total) return std::nullopt;
        return std::vector{images[static_cast<size_t>(step % per_epoch)]};
      },
      [&](int64_t step) { return options.epoch + step / per_epoch; });
  ImageProgress progress("preview");
  std::string report;
  int64_t pictures = 0;
  while (auto batch = ATOLL_TRY(loader.next())) {
    progress.update(batch->step + 1, total);
    if (batch->samples.empty()) continue;
    const Sample& sample = batch->samples.front();
    dataset::Picture picture = denormalised(*batch, 0, loader_options);
    if (!options.plain) dataset::draw_overlays(picture, overlays_of(sample, data));
    const auto jpeg = ATOLL_TRY(dataset::encode_jpeg(picture));
    const std::span<const std::byte> bytes(jpeg);
    const std::string name = fmt::format("{:03}_epoch{}_image{}.jpg",
                                         batch->step % per_epoch,
                                         options.epoch + batch->step / per_epoch,
                                         sample.image_id);
    ATOLL_TRY(out->put(name, {&bytes, 1}));
    report += fmt::format("{}: {}\n", name, description(sample, data));
    ++pictures;
  }
  progress.finish();
  fmt::print("{}", report);
  for (const auto& bad : loader.bad_images()) fmt::print(stderr, "left out: {}\n", bad.what);
  fmt::print("{}: {} images in {} {}, in {}\n",
             out->uri(),
             pictures / options.epochs,
             options.epochs,
             options.epochs == 1 ? "epoch" : "epochs",
             format_duration(progress.elapsed()));
  return 0;
}

void add_geometry_options(CLI::App& command, dataset::LoaderOptions& loader) {
  dataset::AugmentOptions& augment = loader.augment;
  const auto size = [&](const char* name, int& value, const char* description, int least) {
    command.add_option(name, value, description)
        ->type_name("PX")
        ->check(CLI::Range(least, kMaxSide_px))
        ->capture_default_str();
  };
  const auto number = [&](const char* name, double& value, const char* description) {
    command.add_option(name, value, description)->type_name("X")->capture_default_str();
  };
  size("--min-size-px", loader.min_size_px, "The shorter side is resized to this [model]", 1);
  size("--max-size-px", loader.max_size_px, "But the longer to at most this [model]", 1);
  command.add_option("--flip-probability", loader.flip_probability, "Of mirroring [data]")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--min-sizes-px",
                  augment.min_sizes_px,
                  "Multi-scale: one of them in place of --min-size-px, as 640,672,704 [data]")
      ->type_name("PX,…")
      ->delimiter(',')
      ->check(whole_number(1));
  size("--lsj-size-px",
       augment.lsj_size_px,
       "Large-scale jitter: the square's side; 0: off [data]",
       0);
  number("--lsj-min-scale", augment.lsj_min_scale, "Least factor, of what fits the square [data]");
  number("--lsj-max-scale", augment.lsj_max_scale, "Greatest factor [data]");
  number("--copy-paste-probability",
         augment.copy_paste_probability,
         "Of laying objects of another image over it [data]");
  number("--photometric-probability",
         augment.photometric_probability,
         "Of each change of colour; 0: off [data]");
  number("--brightness", augment.brightness, "A factor from 1 - X to 1 + X [data]");
  number("--contrast", augment.contrast, "Likewise [data]");
  number("--saturation", augment.saturation, "Likewise [data]");
  number("--hue", augment.hue, "Turns of the colour wheel from -X to X [data]");
}

}  // namespace

void add_data_preview(CLI::App& data, CommandContext& context) {
  const auto options = std::make_shared<PreviewOptions>();
  CLI::App& command = *data.add_subcommand("preview", "Show images as training sees them");
  command.add_option("--data", options->data, "Dataset's directory, or tfrecord:DIR")
      ->required()
      ->type_name("DIR");
  command.add_option("--out", options->out, "Directory for the JPEGs")
      ->required()
      ->type_name("DIR");
  command
      .add_option("--annotations",
                  options->annotations,
                  "JSON or records below the dataset's directory, if not the training split's")
      ->type_name("FILE");
  const auto count = [&](const char* name, auto& value, const char* description, int64_t least) {
    command.add_option(name, value, description)
        ->type_name("N")
        ->check(whole_number(least))
        ->capture_default_str();
  };
  count("--images", options->images, "How many: the first of the epoch", 1);
  count("--epoch", options->epoch, "The first epoch", 0);
  count("--epochs", options->epochs, "How many epochs, with the same images", 1);
  count("--seed", options->loader.seed, "Key of all random choices [train]", 0);
  command.add_flag("--plain", options->plain, "Draw no boxes, masks and names");
  add_geometry_options(command, options->loader);
  count("--threads", options->threads, "Threads; 0: one for each processor", 0);
  command.footer(kFooter);
  context.on_run(&command, [options] { return run_preview(*options); });
}

}  // namespace atl::cli
