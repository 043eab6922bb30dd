#include <memory>

#include "cli/command.h"

namespace atl::cli {

void add_predict(CLI::App& app, CommandContext& context) {
  const auto options = std::make_shared<train::PredictOptions>();
  CLI::App& command =
      *app.add_subcommand("predict", "Find objects in pictures, with a trained model");
  command
      .add_option(
          "--weights", options->weights, "Model, as training or a job (model.tar.gz) left it")
      ->required()
      ->type_name("FILE");
  command.add_option("--out", options->out, "Directory for the pictures and predictions.json")
      ->required()
      ->type_name("DIR");
  command.add_option("inputs", options->inputs, "JPEG or PNG files, or directories of them")
      ->required()
      ->type_name("FILE|DIR");
  command
      .add_option("--score-threshold",
                  options->score_threshold,
                  "Draw what is at least this sure; predictions.json has everything")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--device", options->device, "auto, cpu or cuda")
      ->type_name("NAME")
      ->capture_default_str();
  command.add_option("--threads", options->threads, "Threads of the kernels; 0: all")
      ->type_name("N")
      ->check(whole_number());
  command.footer(
      "Draws masks, boxes, names and scores into a copy of each picture, and writes all "
      "detections\n"
      "in COCO's results format. The names of the classes come with the weights. Pictures of an\n"
      "earlier prediction in DIR/pictures are drawn anew; where another file has such a name, "
      "nothing\n"
      "is done (exit code 2).\n"
      "\n"
      "Examples:\n"
      "  atoll predict --weights runs/first/model.safetensors --out found holiday.jpg\n"
      "  atoll predict --weights model.safetensors --out found --score-threshold 0.7 photos/");
  context.on_run(&command,
                 [options, &context] { return context.engine().predict(*options, context); });
}

}  // namespace atl::cli
