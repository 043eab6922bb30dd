#include "job/variables.h"

#include <fmt/format.h>

#include <charconv>

#include "job/address.h"

namespace atl::job {

std::optional<int64_t> parse_number(std::string_view text, int64_t least, int64_t most) {
  int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || number < least || number > most) return std::nullopt;
  return number;
}

std::string shown(std::string_view text) {
  constexpr size_t kMostBytes = 80;
  std::string plain(text.substr(0, kMostBytes));
  for (char& c : plain) {
    if (c < ' ' || c > '~') c = '?';
  }
  if (text.size() > kMostBytes) plain += "...";
  return plain;
}

tl::unexpected<Error> refuse(std::string message, std::string_view hint) {
  return fail(ErrorCode::kInvalidInput, std::move(message), std::string(hint));
}

std::string Variables::text(std::string_view name) const { return lookup_(name).value_or(""); }

std::string_view Variables::first_set(std::initializer_list<std::string_view> names) const {
  for (const std::string_view name : names) {
    if (has(name)) return name;
  }
  return *(names.end() - 1);
}

Result<std::string> Variables::required(std::string_view of,
                                        std::string_view name,
                                        std::string_view hint) const {
  std::string value = text(name);
  if (value.empty()) return refuse(fmt::format("{}: {} is not set", of, name), hint);
  return value;
}

Result<int> Variables::number(
    std::string_view of, std::string_view name, int least, int most, std::string_view hint) const {
  const std::string value = ATOLL_TRY(required(of, name, hint));
  const auto parsed = parse_number(value, least, most);
  if (!parsed) {
    return refuse(fmt::format("{}: {}=\"{}\" is not a whole number from {} to {}",
                              of,
                              name,
                              shown(value),
                              least,
                              most),
                  hint);
  }
  return static_cast<int>(*parsed);
}

Result<std::string> Variables::host(std::string_view of,
                                    std::string_view name,
                                    std::string_view hint) const {
  std::string value = ATOLL_TRY(required(of, name, hint));
  if (!is_host(value)) {
    return refuse(fmt::format("{}: {}=\"{}\" is no host's name or address", of, name, shown(value)),
                  hint);
  }
  return value;
}

Result<std::optional<uint16_t>> Variables::port(std::string_view name) const {
  const std::string value = text(name);
  if (value.empty()) return std::nullopt;
  const auto parsed = parse_number(value, 1, UINT16_MAX);
  if (!parsed) {
    return refuse(
        fmt::format("{}=\"{}\" is not a port, a number from 1 to 65535", name, shown(value)));
  }
  return static_cast<uint16_t>(*parsed);
}

}  // namespace atl::job
