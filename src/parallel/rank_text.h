// Small texts that ranks send each other, or leave in the store.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace atl::parallel {

inline std::string rank_key(std::string_view what, int rank) {
  return std::string(what) + "/" + std::to_string(rank);
}

// Of what an exception says, without the stack below.
inline std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

// A line break inside becomes a space.
inline std::string join_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) {
    std::string flat = line;
    std::replace(flat.begin(), flat.end(), '\n', ' ');
    text += flat + '\n';
  }
  return text;
}

inline std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace atl::parallel
