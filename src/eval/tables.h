// What the evaluations' tables and JSON have in common; internal to this room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/eval.h"

namespace atl::eval::internal {

struct Column {
  std::string head;
  std::vector<std::string> cells;
};

// The columns a text takes on a terminal, counted in code points.
size_t width_of(std::string_view text);
// The categories' names, then these columns, flush right; one row a category.
std::string category_table(const std::vector<dataset::Category>& categories,
                           const std::vector<Column>& columns);
Column ap_column(IouKind kind, const Curves& curves);

// A JSON string. Bytes that are no UTF-8 become replacement characters.
std::string json_string(std::string_view text);
// The name; where several categories have it, with the id behind it.
std::string unique_name(const std::vector<dataset::Category>& categories, size_t k);
// {"dog": 0.5, …}, one line each.
std::string per_category_json(const std::vector<dataset::Category>& categories,
                              const std::vector<double>& values);

}  // namespace atl::eval::internal
