// What EC2, FSx and IAM say of a job's network, file system and role, XML and JSON, and this machine's files of control
// groups: whatever comes, every finding is one line that moves no cursor, and ranges of addresses print and read back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "base/check.h"
#include "doctor/cgroup.h"
#include "doctor/job_checks.h"

namespace {

using namespace atl::doctor;

void check_lines(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    const std::string line = line_of(finding, /*unicode=*/true);
    ATOLL_CHECK(std::ranges::none_of(line, [](char c) { return c >= 0 && c < ' '; })) << line;
  }
}

void check_ranges(const std::vector<SecurityGroup>& groups) {
  for (const SecurityGroup& group : groups) {
    for (const SecurityRule& rule : group.inbound) {
      for (const AddressRange& range : rule.ranges) {
        ATOLL_CHECK(parse_address_range(text_of(range)) == range) << text_of(range);
      }
    }
  }
}

JobFacts facts_of(std::string_view text) {
  JobFacts facts;
  facts.region = "eu-central-1";
  pugi::xml_document document;
  document.load_buffer(text.data(), text.size());
  const auto answer = document.document_element();
  facts.subnets = read_subnets(answer);
  facts.groups = read_security_groups(answer);
  facts.file_system_groups = facts.groups;
  facts.file_system_subnets = facts.subnets;
  facts.s3_endpoints = read_endpoints(answer);
  facts.efa = read_efa_support(answer);
  const auto tables = read_route_tables(answer);
  for (const Subnet& subnet : facts.subnets) {
    if (!tables.empty()) facts.route_tables[subnet.id] = tables.front();
  }
  (void)read_interfaces(answer);
  check_lines({permission_finding("job", read_decisions(answer)), trust_finding("job", text)});

  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto systems = read_file_systems(json);
  if (!systems.empty()) facts.file_system = systems.front();
  facts.associations = read_associations(json);
  return facts;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const JobFacts facts = facts_of(text);
  JobPlan plan;
  plan.instances = 2;
  plan.directories = {std::string(text.substr(0, 40))};
  check_ranges(facts.groups);
  check_lines(subnet_findings(plan, facts));
  check_lines(vpc_findings(facts));
  check_lines(lustre_port_findings(facts));
  check_lines(efa_findings(plan, facts));
  check_lines(s3_route_findings(facts));
  check_lines(s3_egress_findings(facts));
  check_lines(file_system_findings(plan, facts));
  (void)read_cgroup_limits([&](const std::string&) { return atl::Result<std::string>(text); });
  return 0;
}
