// What security groups let through: rules evaluated as EC2 does, without asking it.
//
// A rule allows a protocol and ports to or from peers: interfaces that carry a group, addresses of a range, those of a prefix
// list. Rules only allow; what no rule allows is blocked; an interface with several groups has the rules of all.
//
// Source: "Security group rules" of the Amazon VPC user guide, and IpPermission of the EC2 API reference.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace atl::doctor {

// A range of addresses, IPv4 or IPv6.
struct AddressRange {
  std::array<uint8_t, 16> bits{};  // from the first on; beyond `length` all are 0
  int length = 0;                  // of the prefix
  bool is_v6 = false;

  bool operator==(const AddressRange&) const = default;
};
// "10.0.0.0/16", "2001:db8::/32"; bits beyond the prefix are dropped, as EC2 does. nullopt for anything else.
std::optional<AddressRange> parse_address_range(std::string_view text);
std::string text_of(const AddressRange& range);
// Whether every address of `inner` is in one of `ranges`, be it in several of them together.
bool is_covered(const AddressRange& inner, std::span<const AddressRange> ranges);

struct PortRange {
  int first = 0;
  int last = 0;

  bool operator==(const PortRange&) const = default;
};
// "988", "1018-1023".
std::string text_of(const PortRange& ports);

struct SecurityRule {
  std::string protocol;  // "tcp" or "6", …; "-1": all, on all ports
  PortRange ports{0, 65535};
  std::vector<std::string> groups;  // peers that carry one of these
  std::vector<AddressRange> ranges;
  std::vector<std::string> prefix_lists;
};

struct SecurityGroup {
  std::string id;
  std::string vpc;
  std::vector<SecurityRule> inbound;
  std::vector<SecurityRule> outbound;
};

// The other end of a connection.
struct Peer {
  std::vector<std::string> groups;      // that its interfaces carry
  std::vector<AddressRange> addresses;  // where they may lie; nothing is known where there are none
};
using PrefixLists = std::map<std::string, std::vector<AddressRange>>;

// The parts of `wanted` that TCP cannot use with all of the peer, in order, neighbouring ports together.
std::vector<PortRange> blocked_tcp_ports(std::span<const SecurityRule> rules,
                                         const Peer& peer,
                                         std::span<const PortRange> wanted,
                                         const PrefixLists& prefix_lists = {});

// Whether interfaces of this group may say anything to one another, by rules that name the group itself: what EFA needs.
bool allows_everything_within(const SecurityGroup& group);

}  // namespace atl::doctor
