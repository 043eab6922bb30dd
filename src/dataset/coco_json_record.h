// One record of a COCO JSON (an image, a category or an annotation), read by simdjson.
//
// Two kinds of failure: kCorrupt for text that is no JSON, with the byte offset inside the record
// in the message; kInvalidInput for a record that is JSON, but not what COCO asks for. The caller
// turns them into what the user reads.
#pragma once

#include <simdjson.h>

#include <optional>
#include <string>
#include <string_view>

#include "dataset/coco_builder.h"

namespace atl::dataset {

class RecordParser {
 public:
  Result<Category> category(std::string_view json);
  Result<ImageRecord> image(std::string_view json);
  Result<AnnotationRecord> annotation(std::string_view json);
  // The record's id where it can be read, for messages.
  std::optional<int64_t> id(std::string_view json);
  // After a kCorrupt failure: the byte of the record at which parsing stopped.
  size_t failure_byte() const { return failure_byte_; }

 private:
  // Copies the record to where 64 bytes behind it may be read.
  Result<simdjson::ondemand::object> open(std::string_view json);
  // visit(key, value) for each field.
  template <typename Visit>
  Result<void> for_each_field(std::string_view json, Visit&& visit);

  std::string buffer_;
  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
  size_t failure_byte_ = 0;
};

}  // namespace atl::dataset
