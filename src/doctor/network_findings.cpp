// A job's network. Sources: "Give SageMaker training jobs access to resources in your Amazon VPC" (subnets, at least two
// addresses for each instance, routes to S3); "File system access control with Amazon VPC" of the FSx for Lustre user guide
// (ports 988 and 1018-1023, both directions); "Get started with EFA" of the EC2 user guide (all traffic within the group).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/bytes.h"
#include "doctor/job_checks.h"

namespace atl::doctor {
namespace {

constexpr auto kLustrePortRanges = std::to_array<PortRange>({{988, 988}, {1018, 1023}});
constexpr auto kHttps = std::to_array<PortRange>({{443, 443}});
constexpr int64_t kAddressesOfAnInstance = 2;
constexpr int64_t kMostInstances = 1'000'000;  // far more than anybody has

template <typename T>
std::vector<std::string> ids_of(const std::vector<T>& things) {
  std::vector<std::string> ids;
  ids.reserve(things.size());
  for (const T& thing : things) ids.push_back(thing.id);
  return ids;
}

// What lies in these subnets and carries these groups.
Peer peer_of(const std::vector<SecurityGroup>& groups, const std::vector<Subnet>& subnets) {
  Peer peer;
  peer.groups = ids_of(groups);
  for (const Subnet& subnet : subnets) {
    peer.addresses.insert(peer.addresses.end(), subnet.addresses.begin(), subnet.addresses.end());
  }
  return peer;
}

std::vector<SecurityRule> rules_of(const std::vector<SecurityGroup>& groups, bool inbound) {
  std::vector<SecurityRule> rules;
  for (const SecurityGroup& group : groups) {
    const auto& some = inbound ? group.inbound : group.outbound;
    rules.insert(rules.end(), some.begin(), some.end());
  }
  return rules;
}

// Adds rules to the first of `groups`.
std::string authorize_command(std::string_view region,
                              const SecurityGroup& group,
                              bool inbound,
                              std::string_view protocol,
                              const std::vector<PortRange>& ports,
                              std::string_view peer_group) {
  std::string command =
      fmt::format("aws ec2 authorize-security-group-{} --region {} --group-id {} --ip-permissions",
                  inbound ? "ingress" : "egress",
                  region,
                  group.id);
  if (ports.empty()) {
    return command +
           fmt::format(" 'IpProtocol={},UserIdGroupPairs=[{{GroupId={}}}]'", protocol, peer_group);
  }
  for (const PortRange& range : ports) {
    command +=
        fmt::format(" 'IpProtocol={},FromPort={},ToPort={},UserIdGroupPairs=[{{GroupId={}}}]'",
                    protocol,
                    range.first,
                    range.last,
                    peer_group);
  }
  return command;
}

// Where the job's traffic to S3 goes from a subnet.
enum class Way { kGateway, kInterface, kNat, kInternet, kNone };

Way way_to_s3(const RouteTable& table, const std::vector<VpcEndpoint>& endpoints) {
  for (const VpcEndpoint& endpoint : endpoints) {
    if (endpoint.is_gateway && endpoint.is_available &&
        std::ranges::count(endpoint.route_tables, table.id) > 0) {
      return Way::kGateway;
    }
  }
  Way way = Way::kNone;
  for (const Route& route : table.routes) {
    if (!route.is_active) continue;
    const bool is_everywhere = route.destination == "0.0.0.0/0";
    if (is_everywhere && route.target.starts_with("igw-") && way == Way::kNone)
      way = Way::kInternet;
    if (is_everywhere && !route.target.starts_with("igw-") && route.target != "local")
      way = Way::kNat;
  }
  const bool has_interface = std::ranges::any_of(endpoints, [](const VpcEndpoint& endpoint) {
    return !endpoint.is_gateway && endpoint.is_available && endpoint.has_private_names;
  });
  return has_interface ? Way::kInterface : way;
}

}  // namespace

std::vector<Finding> subnet_findings(const JobPlan& plan, const JobFacts& facts) {
  if (facts.subnets.empty()) return {};
  int64_t free = 0;
  for (const Subnet& subnet : facts.subnets) free += subnet.free_addresses;
  int64_t for_each = kAddressesOfAnInstance;
  if (facts.efa) for_each += facts.efa->interfaces;
  const int64_t instances = std::clamp<int64_t>(plan.instances, 1, kMostInstances);
  const int64_t need = instances * for_each;
  Finding finding{.id = id::kAddresses};
  finding.what = fmt::format("{} free in {}",
                             format_count(static_cast<uint64_t>(free), "address", "addresses"),
                             fmt::join(ids_of(facts.subnets), ", "));
  if (free < need) {
    finding.severity = Severity::kFailure;
    finding.why = fmt::format("{} need {}, {} each",
                              format_count(static_cast<uint64_t>(instances), "instance"),
                              need,
                              for_each);
    finding.mend = fmt::format(
        "aws ec2 describe-network-interfaces --region {} --filters Name=subnet-id,Values={} shows "
        "who has "
        "them; or a larger subnet, or fewer instances",
        facts.region,
        facts.subnets.front().id);
  }
  return {finding};
}

std::vector<Finding> vpc_findings(const JobFacts& facts) {
  std::set<std::string> vpcs;
  for (const Subnet& subnet : facts.subnets) vpcs.insert(subnet.vpc);
  for (const SecurityGroup& group : facts.groups) vpcs.insert(group.vpc);
  if (facts.file_system) vpcs.insert(facts.file_system->vpc);
  vpcs.erase("");
  std::vector<Finding> findings;
  if (vpcs.size() > 1) {
    findings.push_back(
        {id::kVpc,
         Severity::kFailure,
         fmt::format("subnets, security groups and file system lie in several VPCs: {}",
                     fmt::join(vpcs, ", ")),
         "a job takes them from one only",
         facts.file_system
             ? fmt::format("aws ec2 describe-subnets --region {} --filters Name=vpc-id,Values={}",
                           facts.region,
                           facts.file_system->vpc)
             : fmt::format("aws ec2 describe-security-groups --region {} --filters "
                           "Name=vpc-id,Values={}",
                           facts.region,
                           facts.subnets.empty() ? *vpcs.begin() : facts.subnets.front().vpc)});
  } else if (vpcs.size() == 1) {
    findings.push_back({id::kVpc, Severity::kOk, "all of it lies in " + *vpcs.begin(), "", ""});
  }
  if (!facts.file_system || facts.file_system_subnets.empty() || facts.subnets.empty())
    return findings;
  const Subnet& home = facts.file_system_subnets.front();
  const auto other = std::ranges::find_if(
      facts.subnets, [&](const Subnet& subnet) { return subnet.zone != home.zone; });
  if (other == facts.subnets.end()) {
    findings.push_back(
        {id::kZone, Severity::kOk, "job and file system are in " + home.zone, "", ""});
  } else {
    findings.push_back(
        {id::kZone,
         Severity::kWarning,
         fmt::format(
             "{} is in {}, {} in {}", other->id, other->zone, facts.file_system->id, home.zone),
         "every read crosses availability zones, which is slower and paid for",
         fmt::format("--subnet {}", home.id)});
  }
  return findings;
}

std::vector<Finding> lustre_port_findings(const JobFacts& facts) {
  if (!facts.file_system || !facts.file_system_groups || facts.groups.empty()) return {};
  const auto& servers = *facts.file_system_groups;
  const Peer job = peer_of(facts.groups, facts.subnets);
  const Peer server = peer_of(servers, facts.file_system_subnets);
  std::vector<Finding> findings;
  const auto look = [&](const std::vector<SecurityGroup>& groups, bool inbound, const Peer& peer) {
    const auto blocked =
        blocked_tcp_ports(rules_of(groups, inbound), peer, kLustrePortRanges, facts.prefix_lists);
    if (blocked.empty() || groups.empty() || peer.groups.empty()) return;
    std::vector<std::string> ports;
    ports.reserve(blocked.size());
    for (const PortRange& range : blocked) ports.push_back(text_of(range));
    findings.push_back(
        {id::kLustrePorts,
         Severity::kFailure,
         fmt::format("{} lets no tcp {} {} {}",
                     fmt::join(ids_of(groups), ", "),
                     fmt::join(ports, ", "),
                     inbound ? "in from" : "out to",
                     fmt::join(peer.groups, ", ")),
         "Lustre cannot be mounted",
         authorize_command(
             facts.region, groups.front(), inbound, "tcp", blocked, peer.groups.front())});
  };
  look(facts.groups, /*inbound=*/false, server);
  look(servers, /*inbound=*/true, job);
  // Where both carry the same groups, that was all.
  if (ids_of(facts.groups) != ids_of(servers)) {
    look(facts.groups, /*inbound=*/true, server);
    look(servers, /*inbound=*/false, job);
  }
  if (findings.empty()) {
    findings.push_back(
        {id::kLustrePorts,
         Severity::kOk,
         "tcp 988 and 1018-1023 are open between the job and the file system, in both directions",
         "",
         ""});
  }
  return findings;
}

std::vector<Finding> efa_findings(const JobPlan& plan, const JobFacts& facts) {
  if (!facts.efa || !facts.efa->is_supported || plan.instances < 2 || facts.groups.empty())
    return {};
  if (std::ranges::any_of(facts.groups, allows_everything_within)) {
    return {{id::kEfaRules, Severity::kOk, "EFA: all traffic is open within the group", "", ""}};
  }
  const SecurityGroup& group = facts.groups.front();
  return {{id::kEfaRules,
           Severity::kFailure,
           fmt::format("{} does not let all traffic in from and out to itself",
                       fmt::join(ids_of(facts.groups), ", ")),
           fmt::format("EFA between the {}s needs it: NCCL would hang", plan.instance_type),
           fmt::format("{} && {}",
                       authorize_command(facts.region, group, true, "-1", {}, group.id),
                       authorize_command(facts.region, group, false, "-1", {}, group.id))}};
}

std::vector<Finding> s3_route_findings(const JobFacts& facts) {
  if (!facts.s3_endpoints) return {};
  std::vector<Finding> findings;
  for (const Subnet& subnet : facts.subnets) {
    const auto table = facts.route_tables.find(subnet.id);
    if (table == facts.route_tables.end()) continue;
    const std::string gateway = fmt::format(
        "aws ec2 create-vpc-endpoint --region {0} --vpc-id {1} --service-name com.amazonaws.{0}.s3 "
        "--route-table-ids {2}",
        facts.region,
        subnet.vpc,
        table->second.id);
    const std::string from = fmt::format("{} ({})", subnet.id, table->second.id);
    switch (way_to_s3(table->second, *facts.s3_endpoints)) {
      case Way::kGateway:
        findings.push_back(
            {id::kS3Route, Severity::kOk, from + " reaches S3 by a gateway endpoint", "", ""});
        break;
      case Way::kInterface:
        findings.push_back(
            {id::kS3Route, Severity::kOk, from + " reaches S3 by an interface endpoint", "", ""});
        break;
      case Way::kNat:
        findings.push_back({id::kS3Route,
                            Severity::kNote,
                            from + " reaches S3 by a NAT device or another network",
                            "every byte is paid for; a gateway endpoint costs nothing",
                            gateway});
        break;
      case Way::kInternet:
        findings.push_back({id::kS3Route,
                            Severity::kFailure,
                            from + " has an internet gateway, and no other way to S3",
                            "a training job's interfaces have no public addresses",
                            gateway});
        break;
      case Way::kNone:
        findings.push_back(
            {id::kS3Route,
             Severity::kFailure,
             from + " has no way to S3",
             "SageMaker refuses the job, or it waits for its data until it times out",
             gateway});
        break;
    }
  }
  return findings;
}

std::vector<Finding> s3_egress_findings(const JobFacts& facts) {
  if (facts.groups.empty()) return {};
  const auto rules = rules_of(facts.groups, /*inbound=*/false);
  Peer s3;
  const auto known = facts.prefix_lists.find(facts.s3_prefix_list);
  if (known != facts.prefix_lists.end()) s3.addresses = known->second;
  // Where S3's addresses are not known, whoever lets everything out lets that out, too.
  if (s3.addresses.empty()) s3.addresses = {AddressRange{}};
  const bool names_it = std::ranges::any_of(rules, [&](const SecurityRule& rule) {
    return !facts.s3_prefix_list.empty() &&
           std::ranges::count(rule.prefix_lists, facts.s3_prefix_list) > 0 &&
           (rule.protocol == "-1" || ((rule.protocol == "tcp" || rule.protocol == "6") &&
                                      rule.ports.first <= 443 && rule.ports.last >= 443));
  });
  const std::string groups = fmt::format("{}", fmt::join(ids_of(facts.groups), ", "));
  if (names_it || blocked_tcp_ports(rules, s3, kHttps, facts.prefix_lists).empty()) {
    return {{id::kS3Egress, Severity::kOk, groups + " lets HTTPS out to S3", "", ""}};
  }
  const std::string list = facts.s3_prefix_list.empty()
                               ? std::string("THE ID OF com.amazonaws.") + facts.region + ".s3"
                               : facts.s3_prefix_list;
  return {{id::kS3Egress,
           Severity::kWarning,
           groups + " lets no HTTPS out to all of S3",
           "data, checkpoints and the image come over it, unless an interface endpoint is in their "
           "place",
           fmt::format(
               "aws ec2 authorize-security-group-egress --region {} --group-id {} --ip-permissions "
               "'IpProtocol=tcp,FromPort=443,ToPort=443,PrefixListIds=[{{PrefixListId={}}}]'",
               facts.region,
               facts.groups.front().id,
               list)}};
}

}  // namespace atl::doctor
