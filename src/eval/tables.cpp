#include "eval/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace atl::eval::internal {

size_t width_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string category_table(const std::vector<dataset::Category>& categories,
                           const std::vector<Column>& columns) {
  constexpr std::string_view kHead = "category";
  size_t name_width = width_of(kHead);
  for (const auto& category : categories) {
    name_width = std::max(name_width, width_of(category.name));
  }
  std::vector<size_t> widths;
  for (const Column& column : columns) {
    size_t width = width_of(column.head);
    for (const std::string& cell : column.cells) width = std::max(width, width_of(cell));
    widths.push_back(width);
  }
  std::string text;
  const auto row = [&](std::string_view name, const auto& cell_of) {
    text.append(name).append(name_width - width_of(name), ' ');
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::string& cell = cell_of(columns[c]);
      text.append(2 + widths[c] - width_of(cell), ' ').append(cell);
    }
    text += '\n';
  };
  row(kHead, [](const Column& column) -> const std::string& { return column.head; });
  for (size_t k = 0; k < categories.size(); ++k) {
    row(categories[k].name,
        [&](const Column& column) -> const std::string& { return column.cells[k]; });
  }
  return text;
}

Column ap_column(IouKind kind, const Curves& curves) {
  Column column{fmt::format("{} AP", name_of(kind)), {}};
  for (const double ap : curves.category_ap) column.cells.push_back(fmt::format("{:.3f}", ap));
  return column;
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string unique_name(const std::vector<dataset::Category>& categories, size_t k) {
  const dataset::Category& category = categories[k];
  const bool unique = std::ranges::count(categories, category.name, &dataset::Category::name) == 1;
  return unique ? category.name : fmt::format("{} ({})", category.name, category.id);
}

std::string per_category_json(const std::vector<dataset::Category>& categories,
                              const std::vector<double>& values) {
  std::string text = "{";
  for (size_t k = 0; k < categories.size(); ++k) {
    text += fmt::format("{}\n   {}: {:.17g}",
                        k == 0 ? "" : ",",
                        json_string(unique_name(categories, k)),
                        values[k]);
  }
  return text + (categories.empty() ? "}" : "\n  }");
}

}  // namespace atl::eval::internal
