// Reads the configuration by walking over the table in config_keys.cpp.
#include "train/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <type_traits>

#include "base/utf8.h"
#include "train/config_keys.h"

namespace atl::train {
namespace {

template <typename T>
using Element = typename T::value_type;

// --- Names ---

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, substituted}));
    }
  }
  return row[b.size()];
}

// The candidate that a person may have meant; "" where none is near.
std::string nearest(std::string_view word, std::span<const std::string_view> candidates) {
  // Outside input can be long, and nothing long is near to a key.
  constexpr size_t kLongestWord = 64;
  if (word.size() > kLongestWord) return {};
  const size_t dot = word.rfind('.');
  const auto last = [](std::string_view name) { return name.substr(name.rfind('.') + 1); };
  size_t best = std::max<size_t>(2, word.size() / 4) + 1;
  std::string found;
  for (const auto candidate : candidates) {
    size_t distance = edit_distance(word, candidate);
    // "steps" or "model.steps" for "train.steps": the right word in the wrong place.
    if (last(candidate) == last(word)) distance = 1;
    if (dot == std::string_view::npos) {
      distance = std::min(distance, edit_distance(word, last(candidate)) + 1);
    }
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  const std::string found = nearest(word, candidates);
  return found.empty() ? std::string() : fmt::format("did you mean {}?", found);
}

const ConfigKey* find_key(std::string_view name) {
  for (const auto& key : config_keys()) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

tl::unexpected<Error> unknown_key(const std::string& where, std::string_view name) {
  if (name == "model.num_classes") {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: model.num_classes cannot be set", where),
                "it comes from the categories of the data: remove the line");
  }
  std::vector<std::string_view> names;
  for (const auto& key : config_keys()) names.push_back(key.name);
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) hint = "`atoll train --help` lists the keys";
  return fail(ErrorCode::kInvalidInput, fmt::format("{}: unknown key {}", where, name), hint);
}

// "train = 3" where [train] and its keys belong.
tl::unexpected<Error> not_a_section(const std::string& where, std::string_view name) {
  return fail(ErrorCode::kInvalidInput,
              fmt::format("{}: {} is a section, not a value", where, name),
              fmt::format("write [{0}] with its keys below, or {0}.KEY = VALUE", name));
}

// --- Reading values ---

std::string range_text(const ConfigKey& key, double low, double high) {
  low = std::max(low, key.low);
  high = std::min(high, key.high);
  if (std::isfinite(low) && std::isfinite(high)) return fmt::format("from {} to {}", low, high);
  if (std::isfinite(low)) return fmt::format("at least {}", low);
  if (std::isfinite(high)) return fmt::format("at most {}", high);
  return "finite";
}

tl::unexpected<Error> wrong_type(const std::string& where, const ConfigKey& key, const char* want) {
  return fail(ErrorCode::kInvalidInput, fmt::format("{}: {} must be {}", where, key.name, want));
}

template <typename T>
Result<T> read_number(const toml::node& node, const ConfigKey& key, const std::string& where) {
  double value = 0;
  T result{};
  double low = -std::numeric_limits<double>::infinity();
  double high = -low;
  if constexpr (std::is_integral_v<T>) {
    const auto* integer = node.as_integer();
    if (integer == nullptr) return wrong_type(where, key, "a whole number");
    // TOML's integers are int64; both bounds fit or round to where no count ever is.
    low = std::max(static_cast<double>(std::numeric_limits<T>::min()), low);
    if constexpr (sizeof(T) < sizeof(int64_t)) {
      high = static_cast<double>(std::numeric_limits<T>::max());
    }
    value = static_cast<double>(integer->get());
    result = static_cast<T>(integer->get());
  } else {
    const auto number = node.value<double>();
    if (!number || node.is_boolean()) return wrong_type(where, key, "a number");
    value = *number;
    result = static_cast<T>(*number);
  }
  if (!std::isfinite(value) || value < key.low || value > key.high || value < low || value > high) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("{}: {} = {} must be {}", where, key.name, value, range_text(key, low, high)));
  }
  return result;
}

Result<std::string> read_choice(const toml::node& node,
                                const ConfigKey& key,
                                const std::string& where) {
  const auto* text = node.as_string();
  if (text == nullptr) return wrong_type(where, key, "a string");
  if (!key.choices.empty() && std::ranges::find(key.choices, text->get()) == key.choices.end()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: {} = \"{}\" must be one of: {}",
                            where,
                            key.name,
                            text->get(),
                            fmt::join(key.choices, ", ")),
                did_you_mean(text->get(), key.choices));
  }
  return text->get();
}

template <typename List>
Result<List> read_list(const toml::node& node, const ConfigKey& key, const std::string& where) {
  const auto* array = node.as_array();
  if (array == nullptr) return wrong_type(where, key, "a list");
  List list{};
  if constexpr (requires { list.push_back({}); }) {
    for (const auto& element : *array) {
      list.push_back(ATOLL_TRY(read_number<Element<List>>(element, key, where)));
    }
  } else {
    if (array->size() != list.size()) {
      return wrong_type(where, key, fmt::format("a list of {} numbers", list.size()).c_str());
    }
    for (size_t i = 0; i < list.size(); ++i) {
      list[i] = ATOLL_TRY(read_number<Element<List>>((*array)[i], key, where));
    }
  }
  return list;
}

Result<void> set_value(RunConfig& config,
                       const ConfigKey& key,
                       const toml::node& node,
                       const std::string& where) {
  return std::visit(
      [&]<typename T>(T* slot) -> Result<void> {
        if constexpr (std::is_same_v<T, bool>) {
          const auto* boolean = node.as_boolean();
          if (boolean == nullptr) return wrong_type(where, key, "true or false");
          *slot = boolean->get();
        } else if constexpr (std::is_arithmetic_v<T>) {
          *slot = ATOLL_TRY(read_number<T>(node, key, where));
        } else if constexpr (std::is_same_v<T, std::string>) {
          *slot = ATOLL_TRY(read_choice(node, key, where));
        } else if constexpr (std::is_same_v<T, model::Norm>) {
          const std::string text = ATOLL_TRY(read_choice(node, key, where));
          *slot = text == "batch" ? model::Norm::kBatchNorm : model::Norm::kFrozenBatchNorm;
        } else {
          *slot = ATOLL_TRY(read_list<T>(node, key, where));
        }
        return {};
      },
      key.slot(config));
}

// --- Sources ---

Result<toml::table> parse_toml(std::string_view text, const std::string& file) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    const auto& begin = error.source().begin;
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}:{}:{}: {}", file, begin.line, begin.column, error.description()));
  }
}

std::string place(const std::string& file, const toml::source_region& region) {
  return fmt::format("{}:{}:{}", file, region.begin.line, region.begin.column);
}

Result<void> apply_table(RunConfig& config, const toml::table& table, const std::string& file) {
  static constexpr std::array<std::string_view, 3> kSections = {"data", "train", "model"};
  for (const auto& [name, node] : table) {
    const bool known_section = std::ranges::find(kSections, name.str()) != kSections.end();
    const auto* section = node.as_table();
    if (section == nullptr) {
      if (known_section) return not_a_section(place(file, name.source()), name.str());
      const auto* key = find_key(name.str());
      if (key == nullptr) return unknown_key(place(file, name.source()), name.str());
      ATOLL_TRY(set_value(config, *key, node, place(file, node.source())));
      continue;
    }
    if (!known_section) {
      std::string hint = did_you_mean(name.str(), kSections);
      if (hint.empty()) hint = "the sections are data, train and model";
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("{}: unknown section [{}]", place(file, name.source()), name.str()),
                  hint);
    }
    for (const auto& [inner, value] : *section) {
      const auto full = fmt::format("{}.{}", name.str(), inner.str());
      const auto* key = find_key(full);
      if (key == nullptr) return unknown_key(place(file, inner.source()), full);
      ATOLL_TRY(set_value(config, *key, value, place(file, value.source())));
    }
  }
  return {};
}

struct Setting {
  const ConfigKey* key = nullptr;
  std::string where;  // "--set train.steps=abc"
  std::string value;
};

Result<Setting> split_setting(const std::string& text) {
  const std::string where = fmt::format("--set {}", text);
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: no value", where),
                "write --set section.key=value");
  }
  const std::string name = text.substr(0, equals);
  const auto* key = find_key(name);
  if (key == nullptr) return unknown_key(where, name);
  return Setting{key, where, text.substr(equals + 1)};
}

// A string needs no quotes here; everything else is written as in TOML.
Result<void> apply_setting(RunConfig& config, const Setting& setting) {
  const Slot slot = setting.key->slot(config);
  const bool text =
      std::holds_alternative<std::string*>(slot) || std::holds_alternative<model::Norm*>(slot);
  const bool quoted =
      !setting.value.empty() && (setting.value[0] == '"' || setting.value[0] == '\'');
  if (text && !quoted) {
    // Such a value could not be written to config.toml, and TOML files cannot hold it either.
    if (!is_utf8(setting.value)) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("--set {}: the value is not UTF-8", setting.key->name),
                  "rename the file or folder, or link to it by a name in UTF-8");
    }
    const toml::value<std::string> node(setting.value);
    return set_value(config, *setting.key, node, setting.where);
  }
  const auto parsed = parse_toml(fmt::format("v = {}", setting.value), setting.where);
  const auto* node = parsed ? parsed->get("v") : nullptr;
  if (node == nullptr || parsed->size() != 1) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: not a TOML value", setting.where),
                "for example 3, 0.5, true or [1, 2]");
  }
  return set_value(config, *setting.key, *node, setting.where);
}

// What no single key's range can say.
Result<void> check(const RunConfig& config) {
  const auto& train = config.train;
  if (train.global_batch % train.accumulation != 0) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("train.global_batch = {} is not a multiple of train.accumulation = {}",
                            train.global_batch,
                            train.accumulation));
  }
  if (!std::ranges::is_sorted(train.milestones)) {
    return fail(ErrorCode::kInvalidInput, "train.milestones must increase");
  }
  ATOLL_TRY(dataset::validate(config.data.augment));
  return model::validate(config.model);
}

}  // namespace

Result<RunConfig> preset_config(std::string_view name) {
  auto model = model::preset(name);
  if (!model) {
    const auto known = model::preset_names();
    const std::vector<std::string_view> names(known.begin(), known.end());
    std::string hint = did_you_mean(name, names);
    if (hint.empty()) hint = fmt::format("there are {}", fmt::join(names, ", "));
    return fail(ErrorCode::kInvalidInput, fmt::format("preset \"{}\" is not known", name), hint);
  }
  RunConfig config;
  config.preset = name;
  config.model = *std::move(model);
  if (name == "tiny") {
    // From scratch, on a CPU, within minutes: few steps, so a short warm-up and one smooth decay.
    config.train.steps = 400;
    config.train.global_batch = 8;
    config.train.base_batch = 8;
    config.train.optimizer = "adamw";
    config.train.learning_rate = 2e-3;
    config.train.weight_decay = 1e-2;
    config.train.schedule = "cosine";
    config.train.warmup_steps = 40;
    config.train.warmup_factor = 0.05;
    config.train.clip_norm = 5;
    config.train.checkpoint_every = 100;
  }
  return config;
}

Result<RunConfig> parse_config(const ConfigSources& sources) {
  const std::string file = sources.file_name.empty() ? "config" : sources.file_name;
  const toml::table table = ATOLL_TRY(parse_toml(sources.toml, file));
  std::vector<Setting> settings;
  for (const auto& text : sources.sets) settings.push_back(ATOLL_TRY(split_setting(text)));

  // The preset is decided first, wherever it is named: the other values lie over its defaults.
  RunConfig named;
  const auto* preset_key = find_key("preset");
  if (const auto* node = table.get("preset")) {
    ATOLL_TRY(set_value(named, *preset_key, *node, place(file, node->source())));
  }
  for (const auto& setting : settings) {
    if (setting.key == preset_key) ATOLL_TRY(apply_setting(named, setting));
  }
  RunConfig config = ATOLL_TRY(preset_config(named.preset));
  ATOLL_TRY(apply_table(config, table, file));
  for (const auto& setting : settings) ATOLL_TRY(apply_setting(config, setting));
  ATOLL_TRY_CONTEXT(check(config), file);
  return config;
}

}  // namespace atl::train
