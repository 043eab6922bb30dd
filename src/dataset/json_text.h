// What the fast readers of JSON share: its white space, and where records begin.
#pragma once

#include <cstddef>
#include <string_view>

namespace atl::dataset {

constexpr bool is_json_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
constexpr bool is_json_digit(char c) { return c >= '0' && c <= '9'; }

inline size_t skip_json_space(std::string_view text, size_t at) {
  while (at < text.size() && is_json_space(text[at])) ++at;
  return at;
}

// The first place from `from` on that looks like the beginning of a record behind another one:
// "}, {". It may stand in a string, or deeper in a record: a guess, to be proved by reading up to it.
// npos: none.
inline size_t likely_record(std::string_view text, size_t from) {
  for (size_t at = text.find('}', from); at != std::string_view::npos;
       at = text.find('}', at + 1)) {
    size_t next = skip_json_space(text, at + 1);
    if (next == text.size() || text[next] != ',') continue;
    next = skip_json_space(text, next + 1);
    if (next < text.size() && text[next] == '{') return next;
  }
  return std::string_view::npos;
}

}  // namespace atl::dataset
