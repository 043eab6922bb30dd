#include "dataset/coco_json_cursor.h"

#include <fmt/format.h>

#include <array>
#include <bitset>
#include <cctype>

#include "dataset/json_text.h"

namespace atl::dataset {
namespace {

// As deep as simdjson goes.
constexpr size_t kMaxDepth = 1024;

// The bytes that end a run of uninteresting ones inside a container.
constexpr std::array<bool, 256> kStructural = [] {
  std::array<bool, 256> table{};
  for (const char c : {'"', '{', '}', '[', ']'}) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

std::string shown(char c) {
  return std::isprint(static_cast<unsigned char>(c)) != 0
             ? fmt::format("'{}'", c)
             : fmt::format("byte 0x{:02x}", static_cast<unsigned char>(c));
}

}  // namespace

tl::unexpected<Error> malformed_json(size_t byte, std::string_view what) {
  return fail(ErrorCode::kInvalidInput,
              fmt::format("byte {}: malformed JSON: {}", byte, what),
              "check that the file is complete");
}

char JsonCursor::peek() {
  while (offset_ < text_.size() && is_json_space(text_[offset_])) ++offset_;
  return offset_ < text_.size() ? text_[offset_] : '\0';
}

bool JsonCursor::accept(char wanted) {
  if (peek() != wanted || offset_ >= text_.size()) return false;
  ++offset_;
  return true;
}

Result<void> JsonCursor::expect(char wanted) {
  if (accept(wanted)) return {};
  if (offset_ >= text_.size()) {
    return malformed_json(offset_, fmt::format("expected '{}', but the text ends", wanted));
  }
  return malformed_json(offset_,
                        fmt::format("expected '{}', found {}", wanted, shown(text_[offset_])));
}

Result<std::string_view> JsonCursor::string() {
  ATOLL_TRY(expect('"'));
  const size_t begin = offset_;
  for (;;) {
    const size_t quote = text_.find('"', offset_);
    if (quote == std::string_view::npos) {
      offset_ = text_.size();
      return malformed_json(begin - 1, "this string never ends");
    }
    size_t backslashes = 0;
    while (quote - backslashes > begin && text_[quote - backslashes - 1] == '\\') ++backslashes;
    offset_ = quote + 1;
    if (backslashes % 2 == 0) return text_.substr(begin, quote - begin);
  }
}

Result<std::string_view> JsonCursor::skip_container() {
  const size_t begin = offset_;
  std::bitset<kMaxDepth> is_object;
  size_t depth = 0;
  do {
    while (offset_ < text_.size() && !kStructural[static_cast<unsigned char>(text_[offset_])]) {
      ++offset_;
    }
    if (offset_ == text_.size()) {
      return malformed_json(
          offset_, fmt::format("the text ends inside the value that begins at byte {}", begin));
    }
    const char c = text_[offset_];
    if (c == '"') {
      ATOLL_TRY(string());
      continue;
    }
    if (c == '{' || c == '[') {
      if (depth == kMaxDepth) return malformed_json(offset_, "nested too deeply");
      is_object[depth++] = c == '{';
    } else if (is_object[--depth] != (c == '}')) {
      return malformed_json(offset_, fmt::format("{} closes another kind of bracket", shown(c)));
    }
    ++offset_;
  } while (depth > 0);
  return text_.substr(begin, offset_ - begin);
}

Result<std::string_view> JsonCursor::skip_value() {
  const char first = peek();
  const size_t begin = offset_;
  if (first == '{' || first == '[') return skip_container();
  if (first == '"') {
    ATOLL_TRY(string());
    return text_.substr(begin, offset_ - begin);
  }
  while (offset_ < text_.size() && text_[offset_] != ',' && text_[offset_] != '}' &&
         text_[offset_] != ']' && !is_json_space(text_[offset_])) {
    ++offset_;
  }
  if (offset_ == begin) return malformed_json(begin, "expected a value");
  return text_.substr(begin, offset_ - begin);
}

}  // namespace atl::dataset
