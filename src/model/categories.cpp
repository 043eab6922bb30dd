#include "model/categories.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace atl::model {
namespace {

using Json = nlohmann::ordered_json;

tl::unexpected<Error> damaged(const char* what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the list of categories: {}", what));
}

// nlohmann-json would wrap a larger number round.
bool fits_int64(const Json& number) {
  return number.is_number_integer() &&
         (!number.is_number_unsigned() ||
          number.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()});
}

}  // namespace

std::string to_json(const CategoryMap& categories) {
  Json list = Json::array();
  for (size_t i = 0; i < categories.ids.size(); ++i) {
    list.push_back({{"id", categories.ids[i]}, {"name", categories.names[i]}});
  }
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<CategoryMap> categories_from_json(std::string_view json) {
  const Json list = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) return damaged("not a JSON list");
  CategoryMap categories;
  for (const Json& entry : list) {
    if (!entry.is_object() || !entry.contains("id") || !entry.contains("name") ||
        !fits_int64(entry["id"]) || !entry["name"].is_string()) {
      return damaged("an entry is not {\"id\": number, \"name\": text}");
    }
    categories.ids.push_back(entry["id"].get<int64_t>());
    categories.names.push_back(entry["name"].get<std::string>());
  }
  return categories;
}

}  // namespace atl::model
