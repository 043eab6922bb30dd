#include "base/bytes.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace atl {
namespace {

constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};

struct Unit {
  std::string_view name;
  double bytes;
};
constexpr double kKi = 1024;
constexpr std::array<Unit, 14> kParsedUnits = {{{"", 1},
                                                {"B", 1},
                                                {"K", kKi},
                                                {"KiB", kKi},
                                                {"M", kKi* kKi},
                                                {"MiB", kKi* kKi},
                                                {"G", kKi* kKi* kKi},
                                                {"GiB", kKi* kKi* kKi},
                                                {"T", kKi* kKi* kKi* kKi},
                                                {"TiB", kKi* kKi* kKi* kKi},
                                                {"kB", 1e3},
                                                {"MB", 1e6},
                                                {"GB", 1e9},
                                                {"TB", 1e12}}};

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

tl::unexpected<Error> not_a_size(std::string_view text) {
  return fail(ErrorCode::kInvalidInput,
              fmt::format("\"{}\" is not a size", text),
              "write a number and a unit, such as 512M, 1.5 GiB or 10 GB");
}

}  // namespace

std::string format_bytes(uint64_t bytes) {
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  // 1023.96 would be shown as "1024.0".
  for (; unit + 1 < kUnits.size() && value >= 1023.95; ++unit) value /= kKi;
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.1f} {}", value, kUnits.at(unit));
}

Result<uint64_t> parse_bytes(std::string_view text) {
  const std::string_view whole = trimmed(text);
  double number = 0;
  const auto [end, error] =
      std::from_chars(whole.data(), whole.data() + whole.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !(number >= 0)) return not_a_size(text);
  const std::string_view name = trimmed(whole.substr(static_cast<size_t>(end - whole.data())));
  for (const Unit& unit : kParsedUnits) {
    if (unit.name != name) continue;
    const double bytes = std::round(number * unit.bytes);
    if (bytes >= 0x1p64) return not_a_size(text);
    return static_cast<uint64_t>(bytes);
  }
  return not_a_size(text);
}

std::string format_duration(std::chrono::duration<double> duration) {
  const double seconds = duration.count();
  if (!(seconds >= 0)) return "0 s";
  if (seconds < 0.0995) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const double whole = std::round(seconds);
  if (whole >= 1e15) return "for ever";
  const auto s = static_cast<int64_t>(whole);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{} h {} min", s / 3600, s % 3600 / 60);
  return fmt::format("{} d {} h", s / 86400, s % 86400 / 3600);
}

std::string format_count(uint64_t count, std::string_view one, std::string_view more) {
  if (count == 1) return fmt::format("1 {}", one);
  return more.empty() ? fmt::format("{} {}s", count, one) : fmt::format("{} {}", count, more);
}

}  // namespace atl
