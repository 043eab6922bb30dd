// atoll synth: a small dataset of drawn shapes, for a first try and for tests.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/parallel.h"
#include "cli/command.h"
#include "cli/image_progress.h"
#include "dataset/synth.h"

namespace atl::cli {
namespace {

constexpr const char* kFooter =
    "Discs, rectangles, triangles and stars that hide one another, on textured noise: every "
    "picture is\n"
    "made from the seed and its number alone, so the same command gives the same files anywhere. "
    "Two\n"
    "pictures in a hundred hold no object, three hold a crowd.\n"
    "\n"
    "Examples:\n"
    "  atoll synth --out shapes --images 1000\n"
    "  atoll synth --out shapes --images 200 --val-images 50 --size 256 --seed 7\n"
    "\n"
    "Then: atoll train --preset tiny --data shapes --out runs/shapes";

struct SynthCommandOptions {
  std::string out;
  dataset::SynthOptions synth;
  std::optional<int64_t> val_images;
  int threads = 0;
};

Result<int> run_synth(const SynthCommandOptions& options) {
  dataset::SynthOptions synth = options.synth;
  // Every fifth, but never none: a run without a validation split has nothing to measure.
  synth.val_images = options.val_images.value_or(std::max<int64_t>(synth.train_images / 5, 1));
  synth.threads = options.threads > 0 ? options.threads : available_cpus();
  const auto store = ATOLL_TRY(storage::open_store(options.out, /*for_writing=*/true));
  ImageProgress progress("synth");
  synth.progress = [&](int64_t done, int64_t total) { progress.update(done, total); };
  ATOLL_TRY(dataset::synthesise(*store, synth));
  progress.finish();
  fmt::print("{}: {} training and {} validation images of {} px, seed {}, in {}\n",
             store->uri(),
             synth.train_images,
             synth.val_images,
             synth.size_px,
             synth.seed,
             format_duration(progress.elapsed()));
  return 0;
}

}  // namespace

void add_synth(CLI::App& app, CommandContext& context) {
  const auto options = std::make_shared<SynthCommandOptions>();
  CLI::App* command = app.add_subcommand("synth", "Make a small dataset of drawn shapes");
  command->add_option("--out", options->out, "Directory to write; COCO's layout")
      ->required()
      ->type_name("DIR");
  command->add_option("--images", options->synth.train_images, "Training images")
      ->type_name("N")
      ->check(whole_number())
      ->capture_default_str();
  command
      ->add_option("--val-images", options->val_images, "Validation images [a fifth of --images]")
      ->type_name("N")
      ->check(whole_number());
  command
      ->add_option("--size", options->synth.size_px, "Width and height of the pictures, 32 to 4096")
      ->type_name("PX")
      ->check(whole_number(1))
      ->capture_default_str();
  command->add_option("--seed", options->synth.seed, "Another seed, another dataset")
      ->type_name("N")
      ->check(whole_number())
      ->capture_default_str();
  command->add_option("--threads", options->threads, "Threads; 0: one for each processor")
      ->type_name("N")
      ->check(whole_number());
  command->footer(kFooter);
  context.on_run(command, [options] { return run_synth(*options); });
}

}  // namespace atl::cli
