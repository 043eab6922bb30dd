// Writes, compares and describes configurations by walking over the table in config_keys.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <type_traits>

#include "train/config.h"
#include "train/config_keys.h"

namespace atl::train {
namespace {

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04X}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

template <typename T>
std::string number_text(T number) {
  std::string text = fmt::format("{}", number);
  if constexpr (std::is_floating_point_v<T>) {
    if (text.find_first_of(".e") == std::string::npos) text += ".0";
  }
  return text;
}

std::string value_text(const ConfigKey& key, const RunConfig& config) {
  // The slots point into a configuration that may be written; this one is only read.
  return std::visit(
      [&]<typename T>(const T* slot) -> std::string {
        if constexpr (std::is_same_v<T, bool>) {
          return *slot ? "true" : "false";
        } else if constexpr (std::is_arithmetic_v<T>) {
          return number_text(*slot);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return quote(*slot);
        } else if constexpr (std::is_same_v<T, model::Norm>) {
          return *slot == model::Norm::kBatchNorm ? "\"batch\"" : "\"frozen\"";
        } else {
          std::vector<std::string> elements;
          for (const auto element : *slot) elements.push_back(number_text(element));
          return fmt::format("[{}]", fmt::join(elements, ", "));
        }
      },
      key.slot(const_cast<RunConfig&>(config)));
}

std::string key_line(std::string_view name, std::string_view value, std::string_view comment) {
  std::string line = fmt::format("{} = {}", name, value);
  if (!comment.empty()) line = fmt::format("{:<40}  # {}", line, comment);
  return line + '\n';
}

}  // namespace

std::string to_toml(const RunConfig& config) {
  std::string out;
  std::string_view section;
  for (const auto& key : config_keys()) {
    const size_t dot = key.name.find('.');
    std::string_view name = key.name;
    if (dot != std::string_view::npos) {
      if (name.substr(0, dot) != section) {
        section = name.substr(0, dot);
        out += fmt::format("\n[{}]\n", section);
      }
      name = name.substr(dot + 1);
    }
    out += key_line(name, value_text(key, config), key.comment);
  }
  return out;
}

std::vector<ConfigChange> changes_that_matter(const RunConfig& before, const RunConfig& after) {
  std::vector<ConfigChange> changes;
  for (const auto& key : config_keys()) {
    if (key.on_resume == OnResume::kFree) continue;
    std::string old_value = value_text(key, before);
    std::string new_value = value_text(key, after);
    if (old_value != new_value) {
      changes.push_back({std::string(key.name), std::move(old_value), std::move(new_value)});
    }
  }
  return changes;
}

std::vector<std::pair<std::string, std::string>> values_of_all_ranks(const RunConfig& config) {
  std::vector<std::pair<std::string, std::string>> values;
  for (const auto& key : config_keys()) {
    if (!is_machines_own(key)) values.emplace_back(key.name, value_text(key, config));
  }
  return values;
}

std::string changes_from_preset(const RunConfig& config) {
  const auto preset = preset_config(config.preset);
  std::vector<std::string> changes;
  for (const auto& key : config_keys()) {
    if (key.name == "preset") continue;
    const std::string value = value_text(key, config);
    if (!preset || value != value_text(key, *preset)) {
      changes.push_back(fmt::format("{} = {}", key.name, value));
    }
  }
  return fmt::format("{}", fmt::join(changes, ", "));
}

Result<std::string> describe_keys(std::string_view preset) {
  const RunConfig config = ATOLL_TRY(preset_config(preset));
  std::string out;
  for (const auto& key : config_keys()) {
    out += key_line(key.name, value_text(key, config), key.comment);
  }
  return out;
}

}  // namespace atl::train
