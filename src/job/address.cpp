#include "job/address.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "job/variables.h"

namespace atl::job {
namespace {

constexpr uint64_t kFirstPort = 20000;
constexpr uint64_t kPorts = 10000;
constexpr uint64_t kPortsOfJob = 10;

bool may_stand_in_host(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
         c == '-' || c == '_';
}

}  // namespace

bool is_host(std::string_view text) {
  constexpr size_t kLongestName = 253;  // RFC 1035, without the dot at the end
  if (text.empty() || text.size() > kLongestName || text.front() == '-') return false;
  const bool v6 = text.find(':') != std::string_view::npos;
  return std::ranges::all_of(
      text, [v6](char c) { return may_stand_in_host(c) || (v6 && (c == ':' || c == '%')); });
}

Result<Address> parse_address(std::string_view text, std::string_view what) {
  const auto wrong = [&](std::string_view why) {
    return refuse(fmt::format("{} \"{}\": {}", what, shown(text), why),
                  "write HOST:PORT, and an IPv6 address in brackets: [fd00::1]:29500");
  };
  std::string_view host = text, port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong("the bracket is not closed");
    host = text.substr(1, end - 1);
    const std::string_view behind = text.substr(end + 1);
    has_port = !behind.empty();
    if (has_port && behind.front() != ':') return wrong("behind the bracket belongs :PORT");
    if (has_port) port = behind.substr(1);
  } else if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  if (!is_host(host)) return wrong("there is no host's name or address");
  Address address{std::string(host), std::nullopt};
  if (has_port) {
    const auto number = parse_number(port, 1, UINT16_MAX);
    if (!number) return wrong("the port is not a number from 1 to 65535");
    address.port = static_cast<uint16_t>(*number);
  }
  return address;
}

uint16_t port_of_job(std::string_view job_id, int step) {
  const auto number = parse_number(job_id, 0, UINT32_MAX);
  const uint64_t place = number ? static_cast<uint64_t>(*number) * kPortsOfJob : crc32c(job_id);
  return static_cast<uint16_t>(kFirstPort +
                               (place + static_cast<uint64_t>(step) % kPortsOfJob) % kPorts);
}

}  // namespace atl::job
