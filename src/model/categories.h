// Which category a label stands for; travels with the weights. No torch here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::model {

struct CategoryMap {
  std::vector<int64_t> ids;  // label i + 1 is category ids[i]
  std::vector<std::string> names;
  friend bool operator==(const CategoryMap&, const CategoryMap&) = default;
};

// [{"id": 1, "name": "dog"}, …], as it stands in a weight file's metadata. Bytes of a name that are
// not UTF-8 are replaced.
std::string to_json(const CategoryMap& categories);
// kCorrupt: anything else.
Result<CategoryMap> categories_from_json(std::string_view json);

}  // namespace atl::model
