// The result as people and programs read it: pycocotools' lines, a table of categories, JSON.
#include <fmt/format.h>

#include "eval/eval.h"
#include "eval/tables.h"

namespace atl::eval {
namespace {

std::string line(bool precision, const char* iou, const char* area, int maximum, double value) {
  return fmt::format(" {:<18} {} @[ IoU={:<9} | area={:>6s} | maxDets={:>3d} ] = {:0.3f}\n",
                     precision ? "Average Precision" : "Average Recall",
                     precision ? "(AP)" : "(AR)",
                     iou,
                     area,
                     maximum,
                     value);
}

}  // namespace

const char* name_of(IouKind kind) {
  switch (kind) {
    case IouKind::kBox:
      return "bbox";
    case IouKind::kMask:
      return "segm";
    case IouKind::kBoundary:
      break;
  }
  return "boundary";
}

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
  std::vector<internal::Column> columns;
  for (const auto& [kind, result] : kinds) columns.push_back(internal::ap_column(kind, result));
  return internal::category_table(categories, columns);
}

std::string Evaluation::to_json(std::string_view further) const {
  std::string text = "{";
  for (const auto& [kind, result] : kinds) {
    if (text.size() > 1) text += ",";
    text += fmt::format("\n \"{}\": {{\n  \"stats\": [", name_of(kind));
    for (size_t i = 0; i < result.stats.size(); ++i) {
      text += fmt::format("{}{:.17g}", i == 0 ? "" : ", ", result.stats[i]);
    }
    text += fmt::format("],\n  \"per_category\": {}\n }}",
                        internal::per_category_json(categories, result.category_ap));
  }
  if (!further.empty()) text += fmt::format(",\n {}", further);
  return text + "\n}\n";
}

}  // namespace atl::eval
