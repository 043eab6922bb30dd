#include "dataset/json_number.h"

#include <charconv>
#include <cstddef>
#include <cstdint>

#include "dataset/json_text.h"

namespace atl::dataset {
namespace {

// Powers that a double holds exactly, so that one rounding is all there is in m / 10^n.
constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr uint64_t kMaxExact = uint64_t{1} << 53;
constexpr ptrdiff_t kMaxDigits = 19;  // of a mantissa that cannot overflow

// The digits from `at` on, added to the mantissa; where they end.
const char* read_digits(const char* at, const char* end, uint64_t& mantissa) {
  for (; at < end && is_json_digit(*at); ++at)
    mantissa = mantissa * 10 + static_cast<uint64_t>(*at - '0');
  return at;
}

}  // namespace

std::optional<JsonNumber> read_json_number(const char* at, const char* end) {
  const char* begin = at;
  const bool negative = at < end && *at == '-';
  if (negative) ++at;
  uint64_t mantissa = 0;
  const char* digits = at;
  at = read_digits(at, end, mantissa);
  const ptrdiff_t whole = at - digits;
  if (whole < 1 || (whole > 1 && *digits == '0')) return std::nullopt;
  ptrdiff_t fraction = 0;
  if (at < end && *at == '.') {
    const char* point = at + 1;
    at = read_digits(point, end, mantissa);
    fraction = at - point;
    if (fraction < 1) return std::nullopt;
  }
  bool exact = whole + fraction <= kMaxDigits && mantissa <= kMaxExact;
  if (at < end && (*at == 'e' || *at == 'E')) {
    exact = false;
    ++at;
    if (at < end && (*at == '-' || *at == '+')) ++at;
    const char* exponent = at;
    while (at < end && is_json_digit(*at)) ++at;
    if (at == exponent) return std::nullopt;
  }
  if (exact) {
    const double magnitude = static_cast<double>(mantissa) / kPowersOfTen[fraction];
    return JsonNumber{negative ? -magnitude : magnitude, at};
  }
  double value = 0;
  const auto [last, error] = std::from_chars(begin, at, value);
  if (error != std::errc() || last != at) return std::nullopt;
  return JsonNumber{value, at};
}

std::optional<double> json_number(std::string_view text) {
  const auto number = read_json_number(text.data(), text.data() + text.size());
  if (!number) return std::nullopt;
  const std::string_view rest(number->end,
                              static_cast<size_t>(text.data() + text.size() - number->end));
  if (rest.find_first_not_of(" \n\r\t") != std::string_view::npos) return std::nullopt;
  return number->value;
}

}  // namespace atl::dataset
