#include <chrono>
#include <memory>

#include "cli/command.h"

namespace atl::cli {
namespace {

Result<void> check(const train::EvaluateOptions& options) {
  if (options.weights.empty() && options.run.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "neither --weights nor --run says what to measure",
                "see \"atoll eval --help\"");
  }
  if (options.data.empty() && options.run.empty()) {
    return fail(ErrorCode::kInvalidInput, "--data is required", "see \"atoll eval --help\"");
  }
  const bool parts =
      !options.annotations.empty() || !options.images.empty() || options.limit_images > 0;
  if (options.data.empty() && parts) {
    return fail(ErrorCode::kInvalidInput,
                "--annotations, --images and --limit-images go with --data",
                "without it a run's own data are read as the run does");
  }
  return {};
}

}  // namespace

void add_eval(CLI::App& app, CommandContext& context) {
  const auto options = std::make_shared<train::EvaluateOptions>();
  CLI::App& command = *app.add_subcommand("eval", "Measure a trained model: the 12 COCO numbers");
  CLI::Option* const weights =
      command
          .add_option(
              "--weights", options->weights, "Model, as training or a job (model.tar.gz) left it")
          ->type_name("FILE");
  CLI::Option* const run =
      command
          .add_option("--run", options->run, "The newest checkpoint of the run that writes here")
          ->type_name("DIR")
          ->excludes(weights);
  CLI::Option* const follow =
      command
          .add_flag("--follow", options->follow, "Go on with each newer one, until the run's last")
          ->needs(run);
  const auto look_every_s = std::make_shared<int64_t>(15);
  command.add_option("--look-every", *look_every_s, "With --follow: seconds between two looks")
      ->type_name("S")
      ->check(CLI::Range(int64_t{1}, int64_t{86'400}))
      ->capture_default_str()
      ->needs(follow);
  command
      .add_option(
          "--data",
          options->data,
          "Dataset in COCO's layout, or tfrecord:DIR; its val split is used. Of a run: its own, "
          "if not named")
      ->type_name("DIR");
  command
      .add_option(
          "--annotations", options->annotations, "JSON below --data, if not found by itself")
      ->type_name("FILE");
  command.add_option("--images", options->images, "Its images' directory below --data")
      ->type_name("DIR");
  command.add_option("--out", options->out, "Write eval.json and predictions.json here")
      ->type_name("DIR")
      ->excludes(follow);
  command.add_option("--device", options->device, "auto, cpu or cuda")
      ->type_name("NAME")
      ->capture_default_str();
  command.add_option("--threads", options->threads, "Threads of the kernels; 0: all")
      ->type_name("N")
      ->check(whole_number());
  command.add_option("--batch", options->batch, "Images at a time")
      ->type_name("N")
      ->check(whole_number(1))
      ->capture_default_str();
  command.add_option("--limit-images", options->limit_images, "Only the first N images; 0: all")
      ->type_name("N")
      ->check(whole_number());
  command
      .add_option("--max-bad-images",
                  options->max_bad_images,
                  "Unreadable images to leave out; one more is an error [10, or as the run]")
      ->type_name("N")
      ->check(whole_number());
  command.footer(
      "Prints COCO's table for boxes and masks, and AP for each class. What --run finds is also "
      "added to eval.jsonl\n"
      "in the run's directory; what stands there is not evaluated again.\n"
      "\n"
      "Examples:\n"
      "  atoll eval --weights runs/first/model.safetensors --data mydata\n"
      "  atoll eval --weights model.safetensors --data coco --out runs/eval --limit-images 500\n"
      "  atoll eval --run s3://bucket/runs/first --follow\n"
      "\n"
      "To score a results file that is already there, use \"atoll coco-eval\".");
  context.on_run(&command, [options, look_every_s, &context]() -> Result<int> {
    ATOLL_TRY(check(*options));
    options->look_every = std::chrono::seconds(*look_every_s);
    return context.engine().evaluate(*options, context);
  });
}

}  // namespace atl::cli
