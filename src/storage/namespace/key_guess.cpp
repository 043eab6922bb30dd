#include "storage/namespace/key_guess.h"

#include <algorithm>

namespace atl::storage {
namespace {

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
constexpr unsigned kFirst = 0x20;
constexpr unsigned kLast = 0x7e;

unsigned code(char c) { return static_cast<unsigned char>(c); }
bool is_plain(unsigned c) { return c >= kFirst && c <= kLast; }

// The middle one of the letters and digits between the two; of any characters where there is none.
std::optional<char> middle_of(unsigned above, unsigned below) {
  below = std::min(below, kLast + 1);
  std::string between;
  for (const std::string_view kind : {kDigits, kUpper, kLower}) {
    for (const char c : kind) {
      if (code(c) > above && code(c) < below) between += c;
    }
  }
  if (!between.empty()) return between[between.size() / 2];
  const unsigned middle = (above + below) / 2;
  if (middle <= above || middle >= below || !is_plain(middle)) return std::nullopt;
  return static_cast<char>(middle);
}

// What may come behind `c` in names of its kind.
std::optional<char> later_of_its_kind(char c) {
  for (const std::string_view kind : {kDigits, kUpper, kLower}) {
    const size_t found = kind.find(c);
    if (found == std::string_view::npos) continue;
    const std::string_view later = kind.substr(found + 1);
    if (later.empty()) return std::nullopt;
    return later[later.size() / 2];
  }
  return std::nullopt;
}

}  // namespace

size_t first_difference(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

std::optional<std::string> key_ahead(std::string_view at, size_t place) {
  if (place >= at.size()) return std::nullopt;
  const unsigned next = code(at[place]) + 1;
  if (!is_plain(next)) return std::nullopt;
  std::string guess(at.substr(0, place));
  guess += static_cast<char>(next);
  return guess;
}

std::optional<std::string> key_between(std::string_view at, std::string_view past, size_t place) {
  size_t here = first_difference(at, past);
  if (here > place || here >= past.size()) return std::nullopt;
  const unsigned above = here < at.size() ? code(at[here]) : 0;
  std::string guess(at.substr(0, here));
  if (const auto middle = middle_of(above, code(past[here]))) return guess + *middle;
  // With the same character as `at`, then.
  for (++here; here <= place && here < at.size(); ++here) {
    guess = at.substr(0, here);
    if (const auto later = later_of_its_kind(at[here])) return guess + *later;
  }
  return std::nullopt;
}

}  // namespace atl::storage
