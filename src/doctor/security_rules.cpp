#include "doctor/security_rules.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "doctor/text.h"

namespace atl::doctor {
namespace {

bool bit_of(const AddressRange& range, int index) {
  return (range.bits[static_cast<size_t>(index / 8)] >> (7 - index % 8) & 1) != 0;
}

void drop_bits_after_prefix(AddressRange& range) {
  for (int i = range.length; i < 128; ++i) {
    range.bits[static_cast<size_t>(i / 8)] &= static_cast<uint8_t>(~(1U << (7 - i % 8)));
  }
}

// Whether all of `inner` is in `outer`.
bool contains(const AddressRange& outer, const AddressRange& inner) {
  if (outer.is_v6 != inner.is_v6 || outer.length > inner.length) return false;
  for (int i = 0; i < outer.length; ++i) {
    if (bit_of(outer, i) != bit_of(inner, i)) return false;
  }
  return true;
}

AddressRange half(const AddressRange& range, bool upper) {
  AddressRange half = range;
  ++half.length;
  if (upper) {
    const int index = range.length;
    half.bits[static_cast<size_t>(index / 8)] |= static_cast<uint8_t>(1U << (7 - index % 8));
  }
  return half;
}

bool is_tcp(std::string_view protocol) { return protocol == "tcp" || protocol == "6"; }
bool is_everything(std::string_view protocol) { return protocol == "-1"; }

bool applies(const SecurityRule& rule, int port) {
  if (is_everything(rule.protocol)) return true;
  return is_tcp(rule.protocol) && rule.ports.first <= port && port <= rule.ports.last;
}

bool names_one_of(const SecurityRule& rule, const std::vector<std::string>& groups) {
  return std::ranges::any_of(
      groups, [&](const std::string& group) { return std::ranges::count(rule.groups, group) > 0; });
}

bool is_allowed(std::span<const SecurityRule> rules,
                const Peer& peer,
                int port,
                const PrefixLists& prefix_lists) {
  std::vector<AddressRange> ranges;
  for (const SecurityRule& rule : rules) {
    if (!applies(rule, port)) continue;
    if (names_one_of(rule, peer.groups)) return true;
    ranges.insert(ranges.end(), rule.ranges.begin(), rule.ranges.end());
    for (const std::string& list : rule.prefix_lists) {
      const auto found = prefix_lists.find(list);
      if (found == prefix_lists.end()) continue;
      ranges.insert(ranges.end(), found->second.begin(), found->second.end());
    }
  }
  return !peer.addresses.empty() &&
         std::ranges::all_of(peer.addresses, [&](const AddressRange& addresses) {
           return is_covered(addresses, ranges);
         });
}

}  // namespace

std::optional<AddressRange> parse_address_range(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  AddressRange range;
  const std::string address(text.substr(0, slash));
  const auto length = number_of(text.substr(slash + 1));
  range.is_v6 = address.find(':') != std::string::npos;
  if (!length || *length > (range.is_v6 ? 128U : 32U) ||
      ::inet_pton(range.is_v6 ? AF_INET6 : AF_INET, address.c_str(), range.bits.data()) != 1) {
    return std::nullopt;
  }
  range.length = static_cast<int>(*length);
  drop_bits_after_prefix(range);
  return range;
}

std::string text_of(const AddressRange& range) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(range.is_v6 ? AF_INET6 : AF_INET, range.bits.data(), text.data(), text.size());
  return fmt::format("{}/{}", text.data(), range.length);
}

// By halves: a half that is in none of the ranges as a whole, and has none within it, is not covered.
bool is_covered(const AddressRange& inner, std::span<const AddressRange> ranges) {
  if (std::ranges::any_of(ranges, [&](const AddressRange& r) { return contains(r, inner); })) {
    return true;
  }
  std::vector<AddressRange> within;
  for (const AddressRange& range : ranges) {
    if (contains(inner, range)) within.push_back(range);
  }
  return !within.empty() && is_covered(half(inner, false), within) &&
         is_covered(half(inner, true), within);
}

std::string text_of(const PortRange& ports) {
  if (ports.first == ports.last) return fmt::format("{}", ports.first);
  return fmt::format("{}-{}", ports.first, ports.last);
}

std::vector<PortRange> blocked_tcp_ports(std::span<const SecurityRule> rules,
                                         const Peer& peer,
                                         std::span<const PortRange> wanted,
                                         const PrefixLists& prefix_lists) {
  std::vector<PortRange> blocked;
  for (const PortRange& ports : wanted) {
    for (int port = ports.first; port <= ports.last; ++port) {
      if (is_allowed(rules, peer, port, prefix_lists)) continue;
      if (!blocked.empty() && blocked.back().last + 1 == port) {
        blocked.back().last = port;
      } else {
        blocked.push_back({port, port});
      }
    }
  }
  return blocked;
}

bool allows_everything_within(const SecurityGroup& group) {
  const auto allows = [&](const std::vector<SecurityRule>& rules) {
    return std::ranges::any_of(rules, [&](const SecurityRule& rule) {
      return is_everything(rule.protocol) && names_one_of(rule, {group.id});
    });
  };
  return allows(group.inbound) && allows(group.outbound);
}

}  // namespace atl::doctor
