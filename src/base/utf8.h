// UTF-8 (RFC 3629) in text from outside: keys of objects, file names, command lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace atl {

struct Utf8Character {
  size_t bytes = 0;  // 1 to 4; 0: the text is empty or does not start with a character
  uint32_t code = 0;
};

// The first character of the text. Overlong forms, surrogates and codes above 10FFFF are none.
Utf8Character first_character(std::string_view text);

bool is_utf8(std::string_view text);

// On one line: control characters, those of C1 among them, are spaces; bytes that are no UTF-8, and without `unicode` all
// that is not ASCII, are question marks.
std::string printable(std::string_view text, bool unicode = true);

}  // namespace atl
