#include "doctor/aws_facts.h"

#include <algorithm>
#include <charconv>

namespace atl::doctor {
namespace {

using nlohmann::json;

std::string text_at(const pugi::xml_node& node, const char* name) {
  return node.child(name).text().as_string();
}

// Small enough to be added up, whatever the answer says.
int64_t count_at(const pugi::xml_node& node, const char* name) {
  constexpr int64_t kMost = 1'000'000;
  return std::clamp<int64_t>(node.child(name).text().as_llong(), 0, kMost);
}

// The <item>s of a set.
auto items(const pugi::xml_node& node, const char* set) { return node.child(set).children("item"); }

std::string text_at(const json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const json& member(const json& object, const char* name) {
  static const json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

std::vector<std::string> texts_at(const json& object, const char* name) {
  std::vector<std::string> texts;
  for (const json& one : member(object, name)) {
    if (one.is_string()) texts.push_back(one.get<std::string>());
  }
  return texts;
}

SecurityRule read_rule(const pugi::xml_node& permission) {
  SecurityRule rule;
  rule.protocol = text_at(permission, "ipProtocol");
  if (permission.child("fromPort")) {
    rule.ports = {permission.child("fromPort").text().as_int(),
                  permission.child("toPort").text().as_int()};
  }
  for (const auto& item : items(permission, "groups")) {
    rule.groups.push_back(text_at(item, "groupId"));
  }
  for (const auto& item : items(permission, "ipRanges")) {
    if (const auto range = parse_address_range(text_at(item, "cidrIp")))
      rule.ranges.push_back(*range);
  }
  for (const auto& item : items(permission, "ipv6Ranges")) {
    if (const auto range = parse_address_range(text_at(item, "cidrIpv6"))) {
      rule.ranges.push_back(*range);
    }
  }
  for (const auto& item : items(permission, "prefixListIds")) {
    rule.prefix_lists.push_back(text_at(item, "prefixListId"));
  }
  return rule;
}

std::string first_of(const pugi::xml_node& node, std::initializer_list<const char*> names) {
  for (const char* const name : names) {
    if (std::string text = text_at(node, name); !text.empty()) return text;
  }
  return {};
}

// A word, or one of a list of words; AWS writes either.
bool names(const json& value, std::string_view word) {
  if (value.is_string()) return value.get_ref<const std::string&>() == word;
  return value.is_array() && std::ranges::any_of(value, [&](const json& one) {
           return one.is_string() && one == word;
         });
}

std::string url_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    uint8_t byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16).ptr ==
            text.data() + i + 3) {
      decoded += static_cast<char>(byte);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

}  // namespace

std::vector<Subnet> read_subnets(const pugi::xml_node& answer) {
  std::vector<Subnet> subnets;
  for (const auto& item : items(answer, "subnetSet")) {
    Subnet subnet;
    subnet.id = text_at(item, "subnetId");
    subnet.vpc = text_at(item, "vpcId");
    subnet.zone = text_at(item, "availabilityZone");
    subnet.zone_id = text_at(item, "availabilityZoneId");
    if (const auto range = parse_address_range(text_at(item, "cidrBlock"))) {
      subnet.addresses.push_back(*range);
    }
    subnet.free_addresses = count_at(item, "availableIpAddressCount");
    subnets.push_back(std::move(subnet));
  }
  return subnets;
}

std::vector<SecurityGroup> read_security_groups(const pugi::xml_node& answer) {
  std::vector<SecurityGroup> groups;
  for (const auto& item : items(answer, "securityGroupInfo")) {
    SecurityGroup group;
    group.id = text_at(item, "groupId");
    group.vpc = text_at(item, "vpcId");
    for (const auto& rule : items(item, "ipPermissions")) group.inbound.push_back(read_rule(rule));
    for (const auto& rule : items(item, "ipPermissionsEgress")) {
      group.outbound.push_back(read_rule(rule));
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

std::vector<RouteTable> read_route_tables(const pugi::xml_node& answer) {
  std::vector<RouteTable> tables;
  for (const auto& item : items(answer, "routeTableSet")) {
    RouteTable table;
    table.id = text_at(item, "routeTableId");
    for (const auto& entry : items(item, "routeSet")) {
      table.routes.push_back(
          {first_of(
               entry,
               {"destinationCidrBlock", "destinationPrefixListId", "destinationIpv6CidrBlock"}),
           first_of(entry,
                    {"gatewayId",
                     "natGatewayId",
                     "transitGatewayId",
                     "vpcPeeringConnectionId",
                     "networkInterfaceId",
                     "instanceId"}),
           text_at(entry, "state") != "blackhole"});
    }
    tables.push_back(std::move(table));
  }
  return tables;
}

std::vector<VpcEndpoint> read_endpoints(const pugi::xml_node& answer) {
  std::vector<VpcEndpoint> endpoints;
  for (const auto& item : items(answer, "vpcEndpointSet")) {
    VpcEndpoint endpoint;
    endpoint.id = text_at(item, "vpcEndpointId");
    endpoint.is_gateway = text_at(item, "vpcEndpointType") != "Interface";
    const std::string state = text_at(item, "state");
    endpoint.is_available = state == "available" || state == "Available";
    endpoint.has_private_names = item.child("privateDnsEnabled").text().as_bool();
    for (const auto& table : items(item, "routeTableIdSet")) {
      endpoint.route_tables.emplace_back(table.text().as_string());
    }
    endpoints.push_back(std::move(endpoint));
  }
  return endpoints;
}

std::vector<NetworkInterface> read_interfaces(const pugi::xml_node& answer) {
  std::vector<NetworkInterface> interfaces;
  for (const auto& item : items(answer, "networkInterfaceSet")) {
    NetworkInterface interface;
    interface.id = text_at(item, "networkInterfaceId");
    for (const auto& group : items(item, "groupSet")) {
      interface.groups.push_back(text_at(group, "groupId"));
    }
    interfaces.push_back(std::move(interface));
  }
  return interfaces;
}

EfaSupport read_efa_support(const pugi::xml_node& answer) {
  const auto network = answer.child("instanceTypeSet").child("item").child("networkInfo");
  EfaSupport efa;
  efa.is_supported = network.child("efaSupported").text().as_bool();
  efa.interfaces = count_at(network.child("efaInfo"), "maximumEfaInterfaces");
  if (efa.is_supported) efa.interfaces = std::max<int64_t>(efa.interfaces, 1);
  return efa;
}

std::vector<Decision> read_decisions(const pugi::xml_node& answer) {
  std::vector<Decision> decisions;
  for (const auto& item : answer.child("EvaluationResults").children("member")) {
    const auto lacks_context = [](const pugi::xml_node& result) {
      return !result.child("MissingContextValues").child("member").empty();
    };
    Decision decision;
    decision.action = text_at(item, "EvalActionName");
    decision.resource = text_at(item, "EvalResourceName");
    const std::string found = text_at(item, "EvalDecision");
    decision.is_allowed = found == "allowed";
    bool conditional = lacks_context(item);
    for (const auto& result : item.child("ResourceSpecificResults").children("member")) {
      conditional = conditional || lacks_context(result);
    }
    decision.depends = found == "implicitDeny" && conditional;
    decisions.push_back(std::move(decision));
  }
  return decisions;
}

std::vector<FileSystem> read_file_systems(const json& answer) {
  std::vector<FileSystem> systems;
  for (const json& item : member(answer, "FileSystems")) {
    const json& lustre = member(item, "LustreConfiguration");
    FileSystem system;
    system.id = text_at(item, "FileSystemId");
    system.type = text_at(item, "FileSystemType");
    system.state = text_at(item, "Lifecycle");
    system.trouble = text_at(member(item, "FailureDetails"), "Message");
    system.vpc = text_at(item, "VpcId");
    system.subnets = texts_at(item, "SubnetIds");
    system.interfaces = texts_at(item, "NetworkInterfaceIds");
    system.mount_name = text_at(lustre, "MountName");
    system.deployment = text_at(lustre, "DeploymentType");
    system.version = text_at(item, "FileSystemTypeVersion");
    system.import_path = text_at(member(lustre, "DataRepositoryConfiguration"), "ImportPath");
    systems.push_back(std::move(system));
  }
  return systems;
}

std::vector<Association> read_associations(const json& answer) {
  std::vector<Association> associations;
  for (const json& item : member(answer, "Associations")) {
    associations.push_back({text_at(item, "AssociationId"),
                            text_at(item, "Lifecycle"),
                            text_at(item, "FileSystemPath"),
                            text_at(item, "DataRepositoryPath"),
                            text_at(member(item, "FailureDetails"), "Message")});
  }
  return associations;
}

bool trusts_service(std::string_view encoded_policy, std::string_view service) {
  const json policy = json::parse(url_decoded(encoded_policy), nullptr, /*allow_exceptions=*/false);
  const json& statements = member(policy, "Statement");
  const auto trusts = [&](const json& statement) {
    return text_at(statement, "Effect") == "Allow" &&
           (names(member(statement, "Action"), "sts:AssumeRole") ||
            names(member(statement, "Action"), "sts:*")) &&
           names(member(member(statement, "Principal"), "Service"), service);
  };
  if (statements.is_object()) return trusts(statements);
  return statements.is_array() && std::ranges::any_of(statements, trusts);
}

}  // namespace atl::doctor
