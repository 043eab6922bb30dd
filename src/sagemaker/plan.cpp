#include "sagemaker/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "base/shell_word.h"
#include "sagemaker/weights.h"

namespace atl::sagemaker {
namespace {

bool is_bucket(std::string_view place) { return place.starts_with("s3://"); }

// The last value that was set; "" where none was.
std::string value_of(const std::vector<std::string>& sets, std::string_view key) {
  std::string value;
  for (const std::string& set : sets) {
    if (set.size() > key.size() && set.starts_with(key) && set[key.size()] == '=') {
      value = set.substr(key.size() + 1);
    }
  }
  return value;
}

void add(std::vector<std::string>& arguments, const char* option, std::string value) {
  if (value.empty()) return;
  arguments.emplace_back(option);
  arguments.push_back(std::move(value));
}

void add_set(std::vector<std::string>& arguments, std::string_view key, const std::string& value) {
  if (!value.empty()) add(arguments, "--set", setting(key, value));
}

std::vector<std::string> training(const Settings& settings,
                                  const DataPlace& data,
                                  const std::string& weights,
                                  const std::string& run,
                                  const Paths& paths) {
  std::vector<std::string> arguments = {"train"};
  add(arguments, "--config", paths.here(settings.config_file));
  // Before the person's own, which go over what was found.
  add_set(arguments, "data.path", data.path);
  add_set(arguments, "data.train_annotations", data.train_annotations);
  add_set(arguments, "data.train_images", data.train_images);
  add_set(arguments, "data.val_annotations", data.val_annotations);
  add_set(arguments, "data.val_images", data.val_images);
  // What a stopped job has in model/ is uploaded.
  add_set(arguments, "train.model_at_stop", "true");
  for (const std::string& set : settings.sets) add(arguments, "--set", set);
  if (!weights.empty() || settings.weights) add(arguments, "--set", setting("weights", weights));
  add_set(arguments, "out", run);
  if (settings.override_options) arguments.emplace_back("--override");
  return arguments;
}

std::vector<std::string> evaluation(const Settings& settings,
                                    const DataPlace& data,
                                    const std::string& weights,
                                    const Paths& paths) {
  std::vector<std::string> arguments = {"eval"};
  const auto chosen = [&](const char* key, const std::string& found) {
    const std::string value = value_of(settings.sets, key);
    return value.empty() ? found : value;
  };
  add(arguments, "--weights", weights);
  add(arguments, "--data", data.path);
  add(arguments, "--annotations", chosen("data.val_annotations", data.val_annotations));
  add(arguments, "--images", chosen("data.val_images", data.val_images));
  add(arguments, "--out", paths.output_data());
  add(arguments, "--device", value_of(settings.sets, "device"));
  add(arguments, "--threads", value_of(settings.sets, "threads"));
  if (settings.evaluation_batch > 0) {
    add(arguments, "--batch", fmt::format("{}", settings.evaluation_batch));
  }
  if (settings.evaluation_images > 0) {
    add(arguments, "--limit-images", fmt::format("{}", settings.evaluation_images));
  }
  add(arguments, "--max-bad-images", value_of(settings.sets, "data.max_bad_images"));
  return arguments;
}

std::string shell_words(const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  quoted.reserve(words.size());
  for (const std::string& word : words) quoted.push_back(shell_word(word));
  return fmt::format("{}", fmt::join(quoted, " "));
}

}  // namespace

std::string run_folder(const Contract& contract, const Settings& settings) {
  if (!settings.out.empty()) return contract.paths.here(settings.out);
  if (settings.mode != Mode::kEvaluate && is_bucket(settings.model_dir)) return settings.model_dir;
  return fmt::format("{}/{}/run", contract.paths.checkpoints(), contract.resources.hosts.front());
}

Result<Plan> plan_job(const Contract& contract,
                      Settings settings,
                      const std::vector<ChannelFolder>& channels) {
  const Paths& paths = contract.paths;
  Plan plan;
  plan.lines = std::move(settings.notes);
  const std::string run = run_folder(contract, settings);
  const int hosts = static_cast<int>(contract.resources.hosts.size());
  const DataPlace data = ATOLL_TRY(find_data(settings, channels, paths, hosts));
  const std::string weights = ATOLL_TRY(find_weights(settings, channels, paths, run, plan.lines));
  if (!data.description.empty()) plan.lines.push_back("data: " + data.description);
  if (settings.mode == Mode::kEvaluate) {
    plan.arguments = evaluation(settings, data, weights, paths);
  } else {
    if (!settings.model_dir.empty() && run != settings.model_dir) {
      plan.lines.push_back(
          fmt::format("model_dir = {} is not used: the run is in {}, its model goes to {}",
                      settings.model_dir,
                      run,
                      paths.model()));
    }
    plan.arguments = training(settings, data, weights, run, paths);
    plan.run = run;
  }
  plan.lines.push_back("atoll " + shell_words(plan.arguments));
  return plan;
}

std::vector<std::string> efa_variables(const std::vector<std::string>& environment,
                                       const std::string& device_directory) {
  std::error_code ignored;
  bool adapter = false;
  for (const auto& entry : std::filesystem::directory_iterator(device_directory, ignored)) {
    adapter = adapter || entry.path().filename().string().starts_with("uverbs");
  }
  std::vector<std::string> missing;
  if (!adapter) return missing;
  for (const std::string_view variable : {"FI_PROVIDER=efa", "FI_EFA_USE_DEVICE_RDMA=1"}) {
    const std::string_view name = variable.substr(0, variable.find('=') + 1);
    const bool set = std::ranges::any_of(
        environment, [&](const std::string& entry) { return entry.starts_with(name); });
    if (!set) missing.emplace_back(variable);
  }
  return missing;
}

}  // namespace atl::sagemaker
