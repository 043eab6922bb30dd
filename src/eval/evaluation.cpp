// The result as people and programs read it: pycocotools' lines, a table of categories, JSON.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "eval/accumulate.h"
#include "eval/eval.h"

namespace atl::eval {
namespace {

const char* name_of(IouKind kind) { return kind == IouKind::kBox ? "bbox" : "segm"; }

std::string line(bool precision, const char* iou, const char* area, int maximum, double value) {
  return fmt::format(" {:<18} {} @[ IoU={:<9} | area={:>6s} | maxDets={:>3d} ] = {:0.3f}\n",
                     precision ? "Average Precision" : "Average Recall",
                     precision ? "(AP)" : "(AR)",
                     iou,
                     area,
                     maximum,
                     value);
}

// The columns a name takes on a terminal, counted in code points.
size_t width_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string Evaluation::table(IouKind kind) const {
  const auto found = kinds.find(kind);
  if (found == kinds.end()) return {};
  const auto& stats = found->second.stats;
  const auto [few, some, many] = max_detections;
  constexpr const char* kAll = "0.50:0.95";
  return line(true, kAll, "all", 100, stats[0]) + line(true, "0.50", "all", many, stats[1]) +
         line(true, "0.75", "all", many, stats[2]) + line(true, kAll, "small", many, stats[3]) +
         line(true, kAll, "medium", many, stats[4]) + line(true, kAll, "large", many, stats[5]) +
         line(false, kAll, "all", few, stats[6]) + line(false, kAll, "all", some, stats[7]) +
         line(false, kAll, "all", many, stats[8]) + line(false, kAll, "small", many, stats[9]) +
         line(false, kAll, "medium", many, stats[10]) + line(false, kAll, "large", many, stats[11]);
}

std::string Evaluation::table() const {
  std::string text;
  for (const auto& [kind, result] : kinds) {
    if (kinds.size() > 1) text += fmt::format("{}\n", name_of(kind));
    text += table(kind);
  }
  return text;
}

std::string Evaluation::category_table() const {
  size_t width = width_of("category");
  for (const auto& category : categories) width = std::max(width, width_of(category.name));
  const auto padded = [&](std::string_view name) {
    return std::string(name) + std::string(width - width_of(name), ' ');
  };
  std::string text = padded("category");
  for (const auto& [kind, result] : kinds) {
    text += fmt::format("  {:>7}", fmt::format("{} AP", name_of(kind)));
  }
  text += '\n';
  for (size_t k = 0; k < categories.size(); ++k) {
    text += padded(categories[k].name);
    for (const auto& [kind, result] : kinds)
      text += fmt::format("  {:>7.3f}", result.category_ap[k]);
    text += '\n';
  }
  return text;
}

std::string Evaluation::to_json() const {
  const auto quoted = [](const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  const auto key_of = [&](const dataset::Category& category) {
    const bool unique =
        std::ranges::count(categories, category.name, &dataset::Category::name) == 1;
    return quoted(unique ? category.name : fmt::format("{} ({})", category.name, category.id));
  };
  std::string text = "{";
  for (const auto& [kind, result] : kinds) {
    if (text.size() > 1) text += ",";
    text += fmt::format("\n \"{}\": {{\n  \"stats\": [", name_of(kind));
    for (size_t i = 0; i < result.stats.size(); ++i) {
      text += fmt::format("{}{:.17g}", i == 0 ? "" : ", ", result.stats[i]);
    }
    text += "],\n  \"per_category\": {";
    for (size_t k = 0; k < categories.size(); ++k) {
      text += fmt::format(
          "{}\n   {}: {:.17g}", k == 0 ? "" : ",", key_of(categories[k]), result.category_ap[k]);
    }
    text += categories.empty() ? "}\n }" : "\n  }\n }";
  }
  return text + "\n}\n";
}

}  // namespace atl::eval
