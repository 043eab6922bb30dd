// Walks the outer structure of a JSON text and hands out the spans of the values inside it, without
// an index of the whole file and without a copy.
//
// Why not simdjson for the whole file: it wants 64 readable bytes behind the text, which a mapped
// file does not have (so 450 MB of COCO would be copied), keeps a 4-byte index entry for each
// token, and stops at 4 GiB. Here only one record at a time goes through simdjson.
//
// Inside a skipped value only strings and the nesting of brackets are checked. Errors are
// kInvalidInput and name the byte.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/error.h"

namespace atl::dataset {

tl::unexpected<Error> malformed_json(size_t byte, std::string_view what);

class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text, size_t offset = 0) : text_(text), offset_(offset) {}

  size_t offset() const { return offset_; }
  // The next byte that is no white space, or '\0' at the end.
  char peek();
  // Whether only white space is left.
  bool at_end() { return peek() == '\0' && offset_ >= text_.size(); }
  // Consumes this byte or fails with "expected …".
  Result<void> expect(char wanted);
  // Consumes this byte if it is next.
  bool accept(char wanted);
  // A string, without its quotes; escapes are left as they are.
  Result<std::string_view> string();
  // Any value: an object, an array, a string or a scalar.
  Result<std::string_view> skip_value();

 private:
  Result<std::string_view> skip_container();

  std::string_view text_;
  size_t offset_;
};

}  // namespace atl::dataset
