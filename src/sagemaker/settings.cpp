// One pass over the names puts each value where it belongs; what depends on several of them (shares of the steps, rates
// of the whole batch) is settled at the end.
#include "sagemaker/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "base/bytes.h"
#include "base/suggest.h"

namespace atl::sagemaker {
namespace {

constexpr std::array<std::string_view, 3> kSections = {"data.", "train.", "model."};
constexpr std::array<std::string_view, 3> kTopLevelKeys = {"preset", "device", "threads"};
// That are read into fields of Settings.
constexpr std::array<std::string_view, 5> kOptions = {
    "data", "out", "weights", "config", "override"};
constexpr std::string_view kSdkPrefix = "sagemaker_";
constexpr int64_t kMostCount = int64_t{1} << 40;

// Shortcuts of `atoll train`, and the lab's names that are a key of Atoll's in other words.
struct Synonym {
  std::string_view name;
  std::string_view key;
};
constexpr std::array<Synonym, 6> kSynonyms = {{{"steps", "train.steps"},
                                               {"batch", "train.global_batch"},
                                               {"seed", "train.seed"},
                                               {"checkpoint-every", "train.checkpoint_every"},
                                               {"checkpoint_every", "train.checkpoint_every"},
                                               {"num_steps_per_eval", "train.eval_every"}}};

constexpr std::array<std::string_view, 17> kLabNames = {"mode",
                                                        "init_learning_rate",
                                                        "learning_rate_steps",
                                                        "total_steps",
                                                        "train_batch_size",
                                                        "eval_batch_size",
                                                        "num_steps_per_eval",
                                                        "eval_samples",
                                                        "amp",
                                                        "xla",
                                                        "use_batched_nms",
                                                        "seed",
                                                        "checkpoint",
                                                        "model_dir",
                                                        "training_file_pattern",
                                                        "validation_file_pattern",
                                                        "val_json_file"};

tl::unexpected<Error> wrong(const Hyperparameter& parameter, std::string_view want) {
  constexpr size_t kShownBytes = 80;
  return fail(ErrorCode::kInvalidInput,
              fmt::format("hyperparameter {} = \"{}\" is not {}",
                          parameter.name,
                          std::string_view(parameter.value).substr(0, kShownBytes),
                          want));
}

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

// Notebooks send 500.0, too.
Result<int64_t> count_of(const Hyperparameter& parameter, int64_t least) {
  const auto value = number_in(parameter.value);
  if (!value || *value != std::floor(*value) || *value < static_cast<double>(least) ||
      *value > static_cast<double>(kMostCount)) {
    return wrong(parameter, fmt::format("a whole number from {} on", least));
  }
  return static_cast<int64_t>(*value);
}

Result<double> rate_of(const Hyperparameter& parameter) {
  const auto value = number_in(parameter.value);
  if (!value || *value < 0) return wrong(parameter, "a number from 0 on");
  return *value;
}

Result<bool> truth_of(const Hyperparameter& parameter) {
  if (parameter.value == "true" || parameter.value == "1") return true;
  if (parameter.value == "false" || parameter.value == "0") return false;
  return wrong(parameter, "true or false");
}

// "3750,5000", also as a list.
Result<std::vector<int64_t>> steps_of(const Hyperparameter& parameter) {
  std::string_view rest = parameter.value;
  if (rest.starts_with('[') && rest.ends_with(']') && rest.size() >= 2) {
    rest = rest.substr(1, rest.size() - 2);
  }
  std::vector<int64_t> steps;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    std::string_view part = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    const auto step = count_of({parameter.name, std::string(part)}, 1);
    if (!step || (!steps.empty() && *step <= steps.back())) {
      return wrong(parameter, "a list of increasing steps, such as 60000,80000");
    }
    steps.push_back(*step);
  }
  return steps;
}

bool is_key(std::string_view name) {
  return std::ranges::find(kTopLevelKeys, name) != kTopLevelKeys.end() ||
         std::ranges::any_of(kSections, [&](auto section) { return name.starts_with(section); });
}

bool is_known(std::string_view name) {
  return is_key(name) || std::ranges::find(kOptions, name) != kOptions.end() ||
         std::ranges::find(kLabNames, name) != kLabNames.end() ||
         std::ranges::find(kSynonyms, name, &Synonym::name) != kSynonyms.end();
}

class Translation {
 public:
  explicit Translation(int ranks) : ranks_(ranks) {}

  Result<void> add(const Hyperparameter& parameter);
  Result<Settings> finish();

 private:
  Result<bool> add_own(const Hyperparameter& parameter);
  Result<bool> add_lab(const Hyperparameter& parameter);
  Result<bool> add_lab_number(const Hyperparameter& parameter);
  Result<void> set(const Hyperparameter& parameter, std::string_view key, const std::string& value);
  Result<void> set(const Hyperparameter& parameter, std::string_view key, int64_t value) {
    return set(parameter, key, fmt::format("{}", value));
  }
  Result<void> settle_batch();
  Result<void> settle_rate();
  Result<void> settle_milestones();
  Error unknown(const std::string& name) const;
  void note(std::string text) { settings_.notes.push_back(std::move(text)); }

  struct Value {
    std::string text;
    std::string given_as;
  };

  int ranks_;
  Settings settings_;
  std::map<std::string, Value, std::less<>> values_;  // by key
  std::optional<Hyperparameter> batch_;               // of a rank
  std::optional<Hyperparameter> rate_;
  std::optional<Hyperparameter> rate_steps_;
  std::vector<std::string> of_the_sdk_;
  std::vector<std::string> empty_;
};

Result<void> Translation::set(const Hyperparameter& parameter,
                              std::string_view key,
                              const std::string& value) {
  const auto [place, fresh] = values_.try_emplace(std::string(key), Value{value, parameter.name});
  if (fresh || place->second.text == value) return {};
  return fail(ErrorCode::kInvalidInput,
              fmt::format("the hyperparameters {} and {} set {} differently",
                          place->second.given_as,
                          parameter.name,
                          key),
              "give one of them");
}

// Atoll's names.
Result<bool> Translation::add_own(const Hyperparameter& parameter) {
  const std::string& name = parameter.name;
  if (name == "data" || name == "data.path") {
    ATOLL_TRY(set(parameter, "data.path", parameter.value));
  } else if (name == "out") {
    settings_.out = parameter.value;
  } else if (name == "weights") {
    settings_.weights = parameter.value;
  } else if (name == "config") {
    settings_.config_file = parameter.value;
  } else if (name == "override") {
    settings_.override_options = ATOLL_TRY(truth_of(parameter));
  } else if (const auto* synonym = std::ranges::find(kSynonyms, name, &Synonym::name);
             synonym != kSynonyms.end()) {
    const int64_t count = ATOLL_TRY(count_of(parameter, 0));
    ATOLL_TRY(set(parameter, synonym->key, count));
  } else if (is_key(name)) {
    ATOLL_TRY(set(parameter, name, parameter.value));
  } else {
    return false;
  }
  return true;
}

Result<bool> Translation::add_lab(const Hyperparameter& parameter) {
  const std::string& name = parameter.name;
  if (name == "mode") {
    if (parameter.value == "train") {
      settings_.mode = Mode::kTrain;
    } else if (parameter.value == "eval") {
      settings_.mode = Mode::kEvaluate;
    } else if (parameter.value != "train_and_eval") {
      return wrong(parameter, "train, eval or train_and_eval");
    }
  } else if (name == "checkpoint") {
    settings_.checkpoint = parameter.value;
  } else if (name == "model_dir") {
    settings_.model_dir = parameter.value;
  } else if (name == "training_file_pattern") {
    settings_.training_files = parameter.value;
  } else if (name == "validation_file_pattern") {
    settings_.validation_files = parameter.value;
  } else if (name == "val_json_file") {
    note("val_json_file is not read: the validation records hold the same annotations");
  } else if (name == "xla" || name == "use_batched_nms") {
    ATOLL_TRY(truth_of(parameter));
    note(fmt::format("{} has no counterpart: {}",
                     name,
                     name == "xla" ? "nothing is compiled at run time"
                                   : "the non-maximum suppression is always batched"));
  } else {
    return add_lab_number(parameter);
  }
  return true;
}

Result<bool> Translation::add_lab_number(const Hyperparameter& parameter) {
  const std::string& name = parameter.name;
  if (name == "total_steps") {
    const int64_t steps = ATOLL_TRY(count_of(parameter, 1));
    ATOLL_TRY(set(parameter, "train.steps", steps));
  } else if (name == "train_batch_size") {
    batch_ = parameter;
  } else if (name == "init_learning_rate") {
    rate_ = parameter;
  } else if (name == "learning_rate_steps") {
    rate_steps_ = parameter;
  } else if (name == "eval_batch_size") {
    settings_.evaluation_batch = ATOLL_TRY(count_of(parameter, 1));
  } else if (name == "eval_samples") {
    settings_.evaluation_images = ATOLL_TRY(count_of(parameter, 1));
    ATOLL_TRY(set(parameter, "data.limit_val_images", settings_.evaluation_images));
  } else if (name == "amp") {
    const bool half = ATOLL_TRY(truth_of(parameter));
    ATOLL_TRY(set(parameter, "train.bf16", half ? "true" : "false"));
  } else {
    return false;
  }
  return true;
}

Result<void> Translation::add(const Hyperparameter& parameter) {
  if (parameter.name.starts_with(kSdkPrefix)) {
    of_the_sdk_.push_back(parameter.name);
    return {};
  }
  // Empty weights are a choice; any other empty value is none.
  if (parameter.value.empty() && parameter.name != "weights") {
    if (!is_known(parameter.name)) return tl::unexpected(unknown(parameter.name));
    empty_.push_back(parameter.name);
    return {};
  }
  bool placed = ATOLL_TRY(add_own(parameter));
  if (!placed) placed = ATOLL_TRY(add_lab(parameter));
  if (!placed) return tl::unexpected(unknown(parameter.name));
  return {};
}

Error Translation::unknown(const std::string& name) const {
  std::vector<std::string> known = lab_names();
  known.insert(known.end(), kOptions.begin(), kOptions.end());
  known.insert(known.end(), kTopLevelKeys.begin(), kTopLevelKeys.end());
  for (const Synonym& synonym : kSynonyms) known.emplace_back(synonym.name);
  const std::string guess = nearest(name, known);
  constexpr size_t kShownBytes = 80;
  return {ErrorCode::kInvalidInput,
          fmt::format("unknown hyperparameter {}", std::string_view(name).substr(0, kShownBytes)),
          guess.empty() ? "any key of Atoll's configuration may be one: train.steps, "
                          "train.learning_rate, model.min_size_px; docs/sagemaker.md has the others"
                        : fmt::format("did you mean {}?", guess),
          {}};
}

// The lab's batch is that of one GPU.
Result<void> Translation::settle_batch() {
  if (!batch_) return {};
  const int64_t of_rank = ATOLL_TRY(count_of(*batch_, 1));
  ATOLL_TRY(set(*batch_, "train.global_batch", of_rank * ranks_));
  note(fmt::format("train_batch_size is of each of {}: {} a step",
                   format_count(static_cast<uint64_t>(ranks_), "rank"),
                   format_count(static_cast<uint64_t>(of_rank * ranks_), "image")));
  return {};
}

// The lab's rate is that of the batch as it is, so Atoll is to scale nothing.
Result<void> Translation::settle_rate() {
  if (!rate_) return {};
  const double rate = ATOLL_TRY(rate_of(*rate_));
  ATOLL_TRY(set(*rate_, "train.learning_rate", fmt::format("{}", rate)));
  const auto batch = values_.find("train.global_batch");
  if (batch != values_.end()) {
    return set(*rate_, "train.base_batch", batch->second.text);
  }
  note(
      "init_learning_rate is scaled by train.global_batch / train.base_batch, for train_batch_size "
      "is not given");
  return {};
}

Result<void> Translation::settle_milestones() {
  if (!rate_steps_) return {};
  const auto steps = ATOLL_TRY(steps_of(*rate_steps_));
  const auto total = values_.find("train.steps");
  const auto all = total == values_.end() ? std::nullopt : number_in(total->second.text);
  if (!all || *all < 1) {
    return fail(ErrorCode::kInvalidInput,
                "the hyperparameter learning_rate_steps needs total_steps",
                "Atoll keeps shares of all steps: give total_steps, or train.milestones = [0.67, "
                "0.89]");
  }
  std::vector<std::string> shares;
  std::vector<int64_t> never;
  for (const int64_t step : steps) {
    if (static_cast<double>(step) < *all) {
      shares.push_back(fmt::format("{}", static_cast<double>(step) / *all));
    } else {
      never.push_back(step);
    }
  }
  // 1 of 1 would be a whole number to TOML, which a share may be, too.
  ATOLL_TRY(set(*rate_steps_, "train.milestones", fmt::format("[{}]", fmt::join(shares, ", "))));
  ATOLL_TRY(set(*rate_steps_, "train.schedule", "multistep"));
  if (!never.empty()) {
    note(fmt::format("learning_rate_steps {} {} behind the last step, {}",
                     fmt::join(never, ", "),
                     never.size() == 1 ? "lies" : "lie",
                     *all));
  }
  return {};
}

Result<Settings> Translation::finish() {
  ATOLL_TRY(settle_batch());
  ATOLL_TRY(settle_rate());
  ATOLL_TRY(settle_milestones());
  if (settings_.mode == Mode::kTrain) {
    ATOLL_TRY(set({"mode", "train"}, "train.evaluate", "false"));
  }
  if (const auto data = values_.extract("data.path")) settings_.data = data.mapped().text;
  for (const auto& [key, value] : values_) settings_.sets.push_back(setting(key, value.text));
  if (settings_.evaluation_batch > 0 && settings_.mode != Mode::kEvaluate) {
    note(
        "eval_batch_size has no counterpart beside a training: it is evaluated with the batch of "
        "a step");
  }
  if (!of_the_sdk_.empty()) {
    note(fmt::format("passed over, for SageMaker's own containers: {}",
                     fmt::join(of_the_sdk_, ", ")));
  }
  if (!empty_.empty()) {
    note(fmt::format("without a value, so as if not given: {}", fmt::join(empty_, ", ")));
  }
  return std::move(settings_);
}

}  // namespace

Result<Settings> settings_of(std::span<const Hyperparameter> hyperparameters, int ranks) {
  Translation translation(ranks);
  for (const Hyperparameter& parameter : hyperparameters) {
    ATOLL_TRY(translation.add(parameter));
  }
  return translation.finish();
}

std::string setting(std::string_view key, std::string_view value) {
  if (!value.starts_with('"') && !value.starts_with('\'')) return fmt::format("{}={}", key, value);
  std::string quoted;
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return fmt::format("{}=\"{}\"", key, quoted);
}

std::vector<std::string> lab_names() { return {kLabNames.begin(), kLabNames.end()}; }

}  // namespace atl::sagemaker
