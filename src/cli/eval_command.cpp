#include <memory>

#include "cli/command.h"

namespace atl::cli {

void add_eval(CLI::App& app, CommandContext& context) {
  const auto options = std::make_shared<train::EvaluateOptions>();
  CLI::App& command = *app.add_subcommand("eval", "Measure a trained model: the 12 COCO numbers");
  command.add_option("--weights", options->weights, "Model, as training left it")
      ->required()
      ->type_name("FILE");
  command
      .add_option("--data",
                  options->data,
                  "Dataset in COCO's layout, or tfrecord:DIR; its val split is used")
      ->required()
      ->type_name("DIR");
  command
      .add_option(
          "--annotations", options->annotations, "JSON below --data, if not found by itself")
      ->type_name("FILE");
  command.add_option("--images", options->images, "Its images' directory below --data")
      ->type_name("DIR");
  command.add_option("--out", options->out, "Write eval.json and predictions.json here")
      ->type_name("DIR");
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
  command.footer(
      "Prints COCO's table for boxes and masks, and AP for each class.\n"
      "\n"
      "Examples:\n"
      "  atoll eval --weights runs/first/model.safetensors --data mydata\n"
      "  atoll eval --weights model.safetensors --data coco --out runs/eval --limit-images 500\n"
      "\n"
      "To score a results file that is already there, use \"atoll coco-eval\".");
  context.on_run(&command,
                 [options, &context] { return context.engine().evaluate(*options, context); });
}

}  // namespace atl::cli
