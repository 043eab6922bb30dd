// label_map.pbtxt: which number stands for which class in TensorFlow's object detection records. In
// protobuf's text format:
//
//   item { id: 1  name: 'person' }
//   item { id: 2  name: '/m/0199g'  display_name: "bicycle" }
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"

namespace atl::dataset {

struct LabelMapItem {
  int64_t id = 0;
  std::string name;          // what the records' class/text is compared with, too
  std::string display_name;  // for people, where `name` is a code; may be empty

  // As a category's name.
  const std::string& shown() const { return display_name.empty() ? name : display_name; }
  friend bool operator==(const LabelMapItem&, const LabelMapItem&) = default;
};

class LabelMap {
 public:
  // Other fields than the three are passed over. kInvalidInput, with the line: no such text, an
  // item without id or name, an id twice.
  static Result<LabelMap> parse(std::string_view text);

  std::span<const LabelMapItem> items() const { return items_; }  // sorted by id
  const LabelMapItem* find(int64_t id) const;
  // By name or display name; nullopt where none or several have it.
  std::optional<int64_t> id_of(std::string_view name) const;

 private:
  std::vector<LabelMapItem> items_;
};

std::string label_map_text(std::span<const Category> categories);

}  // namespace atl::dataset
