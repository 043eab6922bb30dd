// label_map.pbtxt: what is taken can be written and read back to the same.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "dataset/tfrecord_labels.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::dataset;
  const auto map = LabelMap::parse({reinterpret_cast<const char*>(data), size});
  if (!map) return 0;
  std::vector<Category> categories;
  for (const auto& item : map->items()) {
    ATOLL_CHECK(map->find(item.id) == &item) << item.id;
    (void)map->id_of(item.name);
    categories.push_back({.id = item.id, .name = item.shown()});
  }
  const auto again = LabelMap::parse(label_map_text(categories));
  ATOLL_CHECK(again.has_value()) << again.error().to_string();
  ATOLL_CHECK(again->items().size() == categories.size());
  for (size_t i = 0; i < categories.size(); ++i) {
    ATOLL_CHECK(again->items()[i].id == categories[i].id);
    ATOLL_CHECK(again->items()[i].shown() == categories[i].name);
  }
  return 0;
}
