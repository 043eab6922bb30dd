// What AWS says of the network, the file system and the role of a job: its answers as plain values, and who asks for them.
//
// Source: the API references of Amazon EC2 (2016-11-15), FSx (2018-03-01) and IAM (2010-05-08).
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <pugixml.hpp>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "aws/client.h"
#include "doctor/security_rules.h"

namespace atl::doctor {

struct Subnet {
  std::string id;
  std::string vpc;
  std::string zone;     // "eu-central-1a"
  std::string zone_id;  // "euc1-az2": the same place for every account
  std::vector<AddressRange> addresses;
  int64_t free_addresses = 0;
};

struct Route {
  std::string destination;  // "0.0.0.0/0", "pl-6ea54007"
  std::string target;       // "igw-…", "nat-…", "vpce-…", "local", "tgw-…", "eni-…"
  bool is_active = true;    // false: a black hole
};
struct RouteTable {
  std::string id;
  std::vector<Route> routes;
};

struct VpcEndpoint {
  std::string id;
  bool is_gateway = true;  // else an interface
  bool is_available = true;
  bool has_private_names = false;
  std::vector<std::string> route_tables;
};

struct NetworkInterface {
  std::string id;
  std::vector<std::string> groups;
};

struct Association {
  std::string id;
  std::string state;  // "AVAILABLE", "CREATING", "MISCONFIGURED", "FAILED", …
  std::string path;   // "/coco"
  std::string uri;    // "s3://bucket/coco"
  std::string trouble;
};

struct FileSystem {
  std::string id;
  std::string type;   // "LUSTRE"
  std::string state;  // "AVAILABLE", "CREATING", "FAILED", "DELETING", "MISCONFIGURED", "UPDATING"
  std::string trouble;
  std::string vpc;
  std::vector<std::string> subnets;
  std::vector<std::string> interfaces;
  std::string mount_name;
  std::string deployment;   // "SCRATCH_2", "PERSISTENT_2"
  std::string version;      // of Lustre
  std::string import_path;  // of file systems that were linked when they were made
};

struct EfaSupport {
  bool is_supported = false;
  int64_t interfaces = 0;
};

struct Decision {
  std::string action;
  std::string resource;
  bool is_allowed = false;
  bool depends =
      false;  // denied, but a policy grants it on a condition whose value the simulation was not given
};

// From the answers. What they do not say stays empty.
std::vector<Subnet> read_subnets(const pugi::xml_node& answer);
std::vector<SecurityGroup> read_security_groups(const pugi::xml_node& answer);
std::vector<RouteTable> read_route_tables(const pugi::xml_node& answer);
std::vector<VpcEndpoint> read_endpoints(const pugi::xml_node& answer);
std::vector<NetworkInterface> read_interfaces(const pugi::xml_node& answer);
EfaSupport read_efa_support(const pugi::xml_node& answer);
std::vector<Decision> read_decisions(const pugi::xml_node& answer);
std::vector<FileSystem> read_file_systems(const nlohmann::json& answer);
std::vector<Association> read_associations(const nlohmann::json& answer);

// Whether a role's trust policy, as GetRole has it (URL-encoded JSON), lets a service take the role.
bool trusts_service(std::string_view encoded_policy, std::string_view service);

}  // namespace atl::doctor
