#include "doctor/security_rules.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>

namespace atl::doctor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

AddressRange range(std::string_view text) {
  const auto range = parse_address_range(text);
  EXPECT_TRUE(range.has_value()) << text;
  return range.value_or(AddressRange{});
}

const std::vector<PortRange> kLustre = {{988, 988}, {1018, 1023}};

SecurityRule tcp(PortRange ports,
                 std::vector<std::string> groups,
                 std::vector<AddressRange> ranges = {}) {
  return {"tcp", ports, std::move(groups), std::move(ranges), {}};
}

TEST(AddressRange, is_read_and_written) {
  for (const char* text : {"10.0.0.0/16", "0.0.0.0/0", "10.1.2.3/32", "2001:db8::/32", "::/0"}) {
    EXPECT_EQ(text_of(range(text)), text);
  }
  EXPECT_EQ(text_of(range("10.0.3.7/16")), "10.0.0.0/16");
}

TEST(AddressRange, what_is_none_is_refused) {
  for (const char* text : {"",
                           "/",
                           "10.0.0.0",
                           "10.0.0.0/33",
                           "10.0.0/8",
                           "10.0.0.0/-1",
                           "10.0.0.0/",
                           "10.0.0.256/8",
                           "::/129",
                           "fe80::1",
                           "x/8",
                           "10.0.0.0/8 ",
                           "1.2.3.4/8/8"}) {
    EXPECT_FALSE(parse_address_range(text)) << text;
  }
}

TEST(AddressRange, several_together_may_cover_one) {
  const AddressRange subnet = range("10.0.0.0/24");
  EXPECT_TRUE(is_covered(subnet, std::vector{range("10.0.0.0/8")}));
  EXPECT_TRUE(is_covered(subnet, std::vector{range("10.0.0.0/25"), range("10.0.0.128/25")}));
  EXPECT_FALSE(is_covered(subnet, std::vector{range("10.0.0.0/25"), range("10.0.0.128/26")}));
  EXPECT_FALSE(is_covered(subnet, std::vector{range("10.0.1.0/24")}));
  EXPECT_FALSE(is_covered(subnet, {}));
  EXPECT_FALSE(is_covered(subnet, std::vector{range("::/0")}));
  EXPECT_TRUE(is_covered(range("2001:db8:1::/48"), std::vector{range("2001:db8::/32")}));
}

TEST(SecurityRules, a_rule_for_the_peers_group_opens_its_ports) {
  const Peer peer{{"sg-fs"}, {range("10.0.0.0/24")}};
  EXPECT_THAT(blocked_tcp_ports({}, peer, kLustre),
              ElementsAre(PortRange{988, 988}, PortRange{1018, 1023}));
  const std::vector both = {tcp({988, 988}, {"sg-fs"}), tcp({1018, 1023}, {"sg-x", "sg-fs"})};
  EXPECT_THAT(blocked_tcp_ports(both, peer, kLustre), IsEmpty());
  // As older documents have it.
  const std::vector old = {tcp({988, 988}, {"sg-fs"}), tcp({1021, 1023}, {"sg-fs"})};
  EXPECT_THAT(blocked_tcp_ports(old, peer, kLustre), ElementsAre(PortRange{1018, 1020}));
  const std::vector other = {tcp({0, 65535}, {"sg-other"})};
  EXPECT_EQ(blocked_tcp_ports(other, peer, kLustre).size(), 2u);
}

TEST(SecurityRules, a_range_must_hold_all_of_the_peers_addresses) {
  const Peer peer{{"sg-fs"}, {range("10.0.0.0/24"), range("10.0.1.0/24")}};
  EXPECT_THAT(
      blocked_tcp_ports(std::vector{tcp({0, 65535}, {}, {range("10.0.0.0/23")})}, peer, kLustre),
      IsEmpty());
  EXPECT_EQ(
      blocked_tcp_ports(std::vector{tcp({0, 65535}, {}, {range("10.0.0.0/24")})}, peer, kLustre)
          .size(),
      2u);
  const std::vector apart = {tcp({988, 988}, {}, {range("10.0.0.0/24")}),
                             tcp({0, 65535}, {}, {range("10.0.1.0/24")})};
  EXPECT_THAT(blocked_tcp_ports(apart, peer, kLustre), ElementsAre(PortRange{1018, 1023}));
  // Of whom nobody knows where he is only a group tells.
  const Peer nowhere{{"sg-fs"}, {}};
  EXPECT_EQ(
      blocked_tcp_ports(std::vector{tcp({0, 65535}, {}, {range("0.0.0.0/0")})}, nowhere, kLustre)
          .size(),
      2u);
}

TEST(SecurityRules, all_traffic_is_tcp_on_all_ports_and_other_protocols_are_not) {
  const Peer peer{{"sg-fs"}, {}};
  SecurityRule all = tcp({-1, -1}, {"sg-fs"});
  all.protocol = "-1";
  EXPECT_THAT(blocked_tcp_ports(std::vector{all}, peer, kLustre), IsEmpty());
  for (const char* protocol : {"udp", "17", "icmp", ""}) {
    SecurityRule other = tcp({0, 65535}, {"sg-fs"});
    other.protocol = protocol;
    EXPECT_EQ(blocked_tcp_ports(std::vector{other}, peer, kLustre).size(), 2u) << protocol;
  }
  SecurityRule number = tcp({0, 65535}, {"sg-fs"});
  number.protocol = "6";
  EXPECT_THAT(blocked_tcp_ports(std::vector{number}, peer, kLustre), IsEmpty());
}

TEST(SecurityRules, prefix_lists_stand_for_their_ranges) {
  const Peer s3{{}, {range("52.219.0.0/16")}};
  SecurityRule rule = tcp({443, 443}, {});
  rule.prefix_lists = {"pl-s3", "pl-unknown"};
  const std::vector<PortRange> https = {{443, 443}};
  EXPECT_THAT(
      blocked_tcp_ports(std::vector{rule}, s3, https, {{"pl-s3", {range("52.219.0.0/16")}}}),
      IsEmpty());
  EXPECT_THAT(blocked_tcp_ports(std::vector{rule}, s3, https), ElementsAre(PortRange{443, 443}));
}

TEST(SecurityRules, efa_wants_everything_within_the_group_by_its_own_name) {
  SecurityRule all = tcp({-1, -1}, {"sg-1"});
  all.protocol = "-1";
  SecurityRule everywhere = tcp({-1, -1}, {}, {range("0.0.0.0/0")});
  everywhere.protocol = "-1";
  EXPECT_TRUE(allows_everything_within({"sg-1", "", {all}, {all}}));
  EXPECT_FALSE(allows_everything_within({"sg-1", "", {all}, {everywhere}}));
  EXPECT_FALSE(allows_everything_within({"sg-1", "", {all}, {}}));
  EXPECT_FALSE(allows_everything_within({"sg-2", "", {all}, {all}}));
  EXPECT_FALSE(allows_everything_within({"sg-1", "", {tcp({0, 65535}, {"sg-1"})}, {all}}));
}

// A world of 64 addresses, 12 ports and three groups, in which everything can be tried.
class SmallWorld {
 public:
  explicit SmallWorld(uint64_t seed) : random_(seed) {}

  int below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  AddressRange some_range() {
    const int length = 26 + below(7);
    AddressRange found = range(fmt::format("10.0.0.{}/{}", below(64), length));
    return found;
  }
  std::vector<std::string> some_groups() {
    std::vector<std::string> groups;
    for (const char* group : {"a", "b", "c"}) {
      if (below(4) == 0) groups.emplace_back(group);
    }
    return groups;
  }
  SecurityRule some_rule() {
    SecurityRule rule;
    rule.protocol = below(5) == 0 ? "-1" : below(6) == 0 ? "udp" : "tcp";
    rule.ports.first = below(12);
    rule.ports.last = rule.ports.first + below(12 - rule.ports.first);
    rule.groups = some_groups();
    for (int i = below(4); i > 0; --i) rule.ranges.push_back(some_range());
    if (below(5) == 0) rule.prefix_lists.emplace_back("pl");
    return rule;
  }

 private:
  std::mt19937_64 random_;
};

bool holds(const AddressRange& range, int address) {
  return address >> (32 - range.length) == range.bits[3] >> (32 - range.length);
}

// One address and one port after the other.
bool slowly_allowed(const std::vector<SecurityRule>& rules,
                    const Peer& peer,
                    int port,
                    const PrefixLists& lists) {
  const auto applies = [&](const SecurityRule& rule) {
    return rule.protocol == "-1" ||
           (rule.protocol == "tcp" && port >= rule.ports.first && port <= rule.ports.last);
  };
  for (const SecurityRule& rule : rules) {
    for (const std::string& one : rule.groups) {
      for (const std::string& other : peer.groups) {
        if (applies(rule) && one == other) return true;
      }
    }
  }
  if (peer.addresses.empty()) return false;
  for (int address = 0; address < 64; ++address) {
    bool is_wanted = false;
    for (const AddressRange& range : peer.addresses) is_wanted |= holds(range, address);
    bool is_allowed = !is_wanted;
    for (const SecurityRule& rule : rules) {
      if (!applies(rule)) continue;
      for (const AddressRange& range : rule.ranges) is_allowed |= holds(range, address);
      for (const std::string& list : rule.prefix_lists) {
        for (const AddressRange& range : lists.at(list)) is_allowed |= holds(range, address);
      }
    }
    if (!is_allowed) return false;
  }
  return true;
}

TEST(SecurityRules, agree_with_trying_every_address_and_port) {
  int allowed = 0;
  int blocked = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    SmallWorld world(seed);
    std::vector<SecurityRule> rules;
    for (int i = world.below(6); i > 0; --i) rules.push_back(world.some_rule());
    Peer peer{world.some_groups(), {}};
    for (int i = world.below(3); i > 0; --i) peer.addresses.push_back(world.some_range());
    const PrefixLists lists = {{"pl", {world.some_range(), world.some_range()}}};
    const std::vector<PortRange> all = {{0, 3}, {5, 11}};
    std::vector<PortRange> expected;
    for (int port = 0; port < 12; ++port) {
      if (port == 4) continue;
      if (slowly_allowed(rules, peer, port, lists)) {
        ++allowed;
        continue;
      }
      ++blocked;
      if (!expected.empty() && expected.back().last + 1 == port) {
        expected.back().last = port;
      } else {
        expected.push_back({port, port});
      }
    }
    ASSERT_EQ(blocked_tcp_ports(rules, peer, all, lists), expected) << "seed " << seed;
  }
  // Otherwise the cases say nothing.
  EXPECT_GT(allowed, 1000);
  EXPECT_GT(blocked, 1000);
}

}  // namespace
}  // namespace atl::doctor
