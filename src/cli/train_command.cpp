// atoll train: a configuration file, --set over it, and shortcuts for the keys that everyone needs,
// which are --set in other words.
#include <fmt/format.h>

#include <cstdint>
#include <memory>

#include "cli/command.h"

namespace atl::cli {
namespace {

constexpr const char* kFooter =
    "What a run needs to know stands in one TOML file (--config); --set changes single values, "
    "and\n"
    "the options above are short for the most usual ones. A run that was stopped or killed goes "
    "on\n"
    "where its last checkpoint was: start it again with the same command.\n"
    "\n"
    "Examples:\n"
    "  Train a small model on your own data, on any machine:\n"
    "    atoll train --preset tiny --data mydata --out runs/first --steps 400\n"
    "  Fine-tune a ResNet-50 FPN model from COCO weights (torchvision's COCO_V1 want norm_eps=0):\n"
    "    atoll train --preset r50_fpn --weights coco.safetensors --data mydata --out runs/fine \\\n"
    "      --set model.norm_eps=0\n"
    "  From a file, with one value changed:\n"
    "    atoll train --config run.toml --set train.learning_rate=0.005\n"
    "  See every key and its value, without training:\n"
    "    atoll train --preset tiny --print-config\n"
    "\n"
    "The data is in COCO's layout: annotations/instances_{train,val}2017.json beside train2017/ "
    "and\n"
    "val2017/. \"atoll synth\" makes such a dataset, \"atoll data validate\" checks yours.";

struct TrainOptions {
  TrainArguments arguments;
  std::vector<std::string> shortcuts;  // as --set, in the order in which they were given
};

// In --set a value that begins with a quote is TOML; a path that does must not be taken for that.
std::string set_text(const std::string& key, const std::string& value) {
  if (!value.starts_with('"') && !value.starts_with('\'')) return key + "=" + value;
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return fmt::format("{}={}\"", key, quoted);
}

template <typename T>
CLI::Option* add_shortcut(CLI::App& command,
                          const std::shared_ptr<TrainOptions>& options,
                          const std::string& name,
                          const std::string& key,
                          const std::string& description,
                          const std::string& type_name) {
  const std::function<void(const T&)> store = [options, key](const T& value) {
    options->shortcuts.push_back(set_text(key, fmt::format("{}", value)));
  };
  return command.add_option_function<T>(name, store, fmt::format("{} [{}]", description, key))
      ->type_name(type_name)
      ->take_last();
}

}  // namespace

void add_train(CLI::App& app, CommandContext& context) {
  const auto options = std::make_shared<TrainOptions>();
  CLI::App& command = *app.add_subcommand("train", "Train a model, or go on with a stopped run");
  command.add_option("--config", options->arguments.config_file, "Configuration of the run, TOML")
      ->type_name("FILE");
  using std::string;
  add_shortcut<string>(
      command, options, "--preset", "preset", "tiny (for a CPU) or r{18,34,50,101}_fpn", "NAME");
  add_shortcut<string>(
      command, options, "--data", "data.path", "Dataset in COCO's layout, or tfrecord:DIR", "DIR");
  add_shortcut<string>(
      command, options, "--out", "out", "Directory for all that the run writes", "DIR");
  add_shortcut<string>(command, options, "--weights", "weights", "Weights to start from", "FILE");
  add_shortcut<string>(command, options, "--device", "device", "auto, cpu or cuda", "NAME");
  add_shortcut<int>(command, options, "--threads", "threads", "Threads of the kernels; 0: all", "N")
      ->check(whole_number());
  add_shortcut<int64_t>(command, options, "--steps", "train.steps", "Steps to train", "N")
      ->check(whole_number());
  add_shortcut<int64_t>(command, options, "--batch", "train.global_batch", "Images a step", "N")
      ->check(whole_number(1));
  add_shortcut<int64_t>(command, options, "--seed", "train.seed", "Key of all random choices", "N")
      ->check(whole_number());
  add_shortcut<int64_t>(command,
                        options,
                        "--checkpoint-every",
                        "train.checkpoint_every",
                        "Steps from one checkpoint to the next",
                        "N")
      ->check(whole_number(1));
  command
      .add_option("--set", options->arguments.sets, "Set any key of the configuration (repeatable)")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_flag("--override",
                   options->arguments.override_options,
                   "Go on with a stopped run although its options have changed");
  command.add_flag("--print-config",
                   options->arguments.print_config,
                   "Print the effective configuration, and stop");
  command.footer(kFooter);
  context.on_run(&command, [options, &context] {
    TrainArguments arguments = options->arguments;
    arguments.sets.insert(
        arguments.sets.end(), options->shortcuts.begin(), options->shortcuts.end());
    return context.engine().train(arguments, context);
  });
}

}  // namespace atl::cli
