// The analysis as people and programs read it.
#include "eval/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "eval/tables.h"

namespace atl::eval {
namespace {

using Categories = std::vector<dataset::Category>;
using internal::Column;

constexpr size_t kConfusionsShown = 10;

template <typename Cell>
Column column(const char* head, size_t count, Cell&& cell) {
  Column result{head, {}};
  for (size_t k = 0; k < count; ++k) result.cells.push_back(cell(k));
  return result;
}

void add_threshold_columns(const Curves& curves, std::vector<Column>& columns) {
  const auto add = [&](const char* head, double OperatingPoint::*member) {
    columns.push_back(column(head, curves.best_f1.size(), [&](size_t k) -> std::string {
      const auto& best = curves.best_f1[k];
      return best ? fmt::format("{:.3f}", (*best).*member) : "-";
    }));
  };
  add("score", &OperatingPoint::score);
  add("precision", &OperatingPoint::precision);
  add("recall", &OperatingPoint::recall);
  add("F1", &OperatingPoint::f1);
}

void add_confusion_columns(const Confusion& confusion, std::vector<Column>& columns) {
  const size_t count = confusion.category_count();
  const auto add = [&](const char* head, auto&& number) {
    columns.push_back(column(head, count, [&](size_t k) { return fmt::format("{}", number(k)); }));
  };
  const auto objects = [&](size_t k) {
    uint64_t sum = 0;
    for (size_t p = 0; p <= count; ++p) sum += confusion.at(k, p);
    return sum;
  };
  const auto found = [&](size_t k) { return confusion.at(k, k); };
  const auto missed = [&](size_t k) { return confusion.at(k, count); };
  columns.push_back(column("counted from", count, [&](size_t k) {
    return fmt::format("{:.3f}", confusion.thresholds[k]);
  }));
  add("objects", objects);
  add("found", found);
  add("confused", [&](size_t k) { return objects(k) - found(k) - missed(k); });
  add("missed", missed);
  add("on nothing", [&](size_t k) { return confusion.at(count, k); });
}

std::string commonest_confusions(const Categories& categories, const Confusion& confusion) {
  struct Cell {
    size_t truth;
    size_t predicted;
    uint64_t count;
  };
  std::vector<Cell> cells;
  const size_t count = confusion.category_count();
  for (size_t truth = 0; truth < count; ++truth) {
    for (size_t predicted = 0; predicted < count; ++predicted) {
      const uint64_t number = confusion.at(truth, predicted);
      if (truth != predicted && number > 0) cells.push_back({truth, predicted, number});
    }
  }
  if (cells.empty()) return "no object was taken for one of another category\n";
  std::ranges::stable_sort(cells, std::greater<>(), &Cell::count);
  if (cells.size() > kConfusionsShown) cells.resize(kConfusionsShown);
  std::string text = "taken for another category most often:\n";
  for (const Cell& cell : cells) {
    text += fmt::format("  {} for {}: {}\n",
                        internal::unique_name(categories, cell.truth),
                        internal::unique_name(categories, cell.predicted),
                        cell.count);
  }
  return text;
}

std::string threshold_json(const std::optional<OperatingPoint>& best) {
  if (!best) return "null";
  return fmt::format(
      R"({{"score": {:.17g}, "precision": {:.17g}, "recall": {:.17g}, "f1": {:.17g}}})",
      best->score,
      best->precision,
      best->recall,
      best->f1);
}

std::string thresholds_json(const Categories& categories, const Curves& curves) {
  std::string text = "{";
  for (size_t k = 0; k < categories.size(); ++k) {
    text += fmt::format("{}\n   {}: {}",
                        k == 0 ? "" : ",",
                        internal::json_string(internal::unique_name(categories, k)),
                        threshold_json(curves.best_f1[k]));
  }
  return text + "\n  }";
}

std::string confusion_json(const Categories& categories, const Confusion& confusion) {
  std::string names;
  for (size_t k = 0; k < categories.size(); ++k) {
    names += internal::json_string(internal::unique_name(categories, k)) + ", ";
  }
  std::string text = "{\n   \"scores\": [";
  for (size_t k = 0; k < categories.size(); ++k) {
    text += fmt::format("{}{:.17g}", k == 0 ? "" : ", ", confusion.thresholds[k]);
  }
  text += fmt::format(
      "],\n   \"truth\": [{0}\"background\"],\n   \"predicted\": [{0}\"missed\"],\n   \"counts\": "
      "[",
      names);
  const size_t side = confusion.category_count() + 1;
  for (size_t truth = 0; truth < side; ++truth) {
    const auto row = std::span(confusion.counts).subspan(truth * side, side);
    text += fmt::format("{}\n    [{}]", truth == 0 ? "" : ",", fmt::join(row, ", "));
  }
  return text + "\n   ]\n  }";
}

}  // namespace

std::string analysis_table(const Categories& categories, std::span<const KindAnalysis> kinds) {
  std::string text;
  for (const KindAnalysis& kind : kinds) {
    if (!text.empty()) text += '\n';
    text += fmt::format("{} at IoU 0.5: the score of the highest F1\n", name_of(kind.kind));
    std::vector<Column> columns;
    add_threshold_columns(*kind.curves, columns);
    if (kind.confusion) add_confusion_columns(*kind.confusion, columns);
    text += internal::category_table(categories, columns);
    if (kind.confusion) text += commonest_confusions(categories, *kind.confusion);
  }
  return text;
}

std::string analysis_json(const Categories& categories, std::span<const KindAnalysis> kinds) {
  std::string thresholds;
  std::string confusions;
  for (const KindAnalysis& kind : kinds) {
    const auto member = [&](const std::string& before, const std::string& value) {
      return fmt::format("{}\n  \"{}\": {}", before.empty() ? "" : ",", name_of(kind.kind), value);
    };
    thresholds += member(thresholds, thresholds_json(categories, *kind.curves));
    if (kind.confusion) {
      confusions += member(confusions, confusion_json(categories, *kind.confusion));
    }
  }
  std::string text = fmt::format("\"thresholds\": {{{}\n }}", thresholds);
  if (!confusions.empty()) text += fmt::format(",\n \"confusion\": {{{}\n }}", confusions);
  return text;
}

}  // namespace atl::eval
