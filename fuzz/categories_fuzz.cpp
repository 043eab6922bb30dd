// The list of categories in a weight file's metadata: a list or an error, and what is accepted
// survives being written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/categories.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto categories = atl::model::categories_from_json(text);
  if (!categories) {
    ATOLL_CHECK(!categories.error().to_string().empty());
    return 0;
  }
  ATOLL_CHECK(categories->ids.size() == categories->names.size());
  const auto again = atl::model::categories_from_json(to_json(*categories));
  ATOLL_CHECK(again.has_value()) << again.error().to_string();
  ATOLL_CHECK(*again == *categories);
  return 0;
}
