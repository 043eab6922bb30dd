// Pieces of text as the kernel's files and programs have them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace atl::doctor {

std::vector<std::string_view> lines_of(std::string_view text);
// Between blanks and tabs.
std::vector<std::string_view> words_of(std::string_view line);
// What follows "NAME:" or "NAME   :" at the beginning of a line, without blanks around it; "" where no line has it.
std::string_view field_of(std::string_view text, std::string_view name);
// A whole number, nothing before or behind it.
std::optional<uint64_t> number_of(std::string_view text);

}  // namespace atl::doctor
