// Asks AWS for what the findings are made of. What these credentials may not ask is a note with the permission for it, not a
// failure: the job has a role of its own.
#include "doctor/job_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "storage/environment.h"
#include "storage/s3/aws_config.h"
#include "storage/s3/http_engine.h"

namespace atl::doctor {
namespace {

using std::chrono::milliseconds;

// Less than the patience of a step, so that the reason is told.
constexpr milliseconds kRetryDeadline{5000};
constexpr milliseconds kAnswerDeadline{8000};
constexpr milliseconds kConnectTimeout{3000};
// Of a file system: they all carry the same groups.
constexpr size_t kInterfacesAsked = 20;

aws::QueryParameters numbered(std::string_view name, std::span<const std::string> values) {
  aws::QueryParameters parameters;
  for (size_t i = 0; i < values.size(); ++i) {
    parameters.emplace_back(fmt::format("{}.{}", name, i + 1), values[i]);
  }
  return parameters;
}

aws::QueryParameters filters(const std::vector<std::pair<std::string, std::string>>& pairs) {
  aws::QueryParameters parameters;
  for (size_t i = 0; i < pairs.size(); ++i) {
    parameters.emplace_back(fmt::format("Filter.{}.Name", i + 1), pairs[i].first);
    parameters.emplace_back(fmt::format("Filter.{}.Value.1", i + 1), pairs[i].second);
  }
  return parameters;
}

// Common to the two conversations below.
class AwsTalk {
 public:
  AwsTalk(aws::AwsClient& client, Report& report, std::stop_token stop)
      : client_(client), report_(report), stop_(std::move(stop)) {}

 protected:
  void step(std::string_view id, std::string doing) {
    report_.step({id,
                  std::move(doing),
                  Severity::kWarning,
                  "check the route to AWS's endpoints, and --region " + client_.region()});
  }

  // `missing`: the command that shows what there is.
  void could_not(std::string_view id, const aws::AwsError& error, const std::string& missing) {
    Finding finding{id, Severity::kWarning, "", "it could not be looked at", error.hint};
    finding.what = Error{error.code, error.message, "", error.context}.to_string();
    if (error.code == ErrorCode::kPermission) {
      finding.severity = Severity::kNote;
    } else if (error.code == ErrorCode::kNotFound || error.code == ErrorCode::kInvalidInput) {
      finding.severity = Severity::kFailure;
      finding.why = "a job that names it is refused";
      finding.mend = missing;
    }
    report_.add(std::move(finding));
  }

  // The answer read by `read`; nullopt where there was none, which is told.
  template <typename Read>
  auto ask(std::string_view id,
           const aws::AwsService& service,
           std::string_view action,
           const aws::QueryParameters& parameters,
           const std::string& missing,
           const Read& read) -> std::optional<decltype(read(pugi::xml_node()))> {
    step(id, fmt::format("asking {} {}", service.name, action));
    const auto answer = client_.query(service, action, parameters, stop_);
    if (answer) return read(answer->result);
    could_not(id, answer.error(), missing);
    return std::nullopt;
  }

  void add_all(std::vector<Finding> findings) {
    for (Finding& finding : findings) report_.add(std::move(finding));
  }

  aws::AwsClient& client_;
  Report& report_;
  const std::stop_token stop_;
};

// Subnets, groups, routes and the file system.
class NetworkTalk : public AwsTalk {
 public:
  NetworkTalk(aws::AwsClient& client, const JobPlan& plan, Report& report, std::stop_token stop)
      : AwsTalk(client, report, std::move(stop)), plan_(plan) {
    facts_.region = client.region();
  }

  void run() {
    ask_subnets();
    ask_groups();
    ask_file_system();
    ask_efa();
    add_all(subnet_findings(plan_, facts_));
    add_all(vpc_findings(facts_));
    if (!facts_.subnets.empty()) ask_routes();
    ask_prefix_lists();
    add_all(lustre_port_findings(facts_));
    add_all(efa_findings(plan_, facts_));
    add_all(s3_route_findings(facts_));
    add_all(s3_egress_findings(facts_));
    add_all(file_system_findings(plan_, facts_));
  }

 private:
  std::string describe(std::string_view what) const {
    return fmt::format("aws ec2 describe-{} --region {}", what, facts_.region);
  }
  std::optional<std::vector<Subnet>> subnets(std::span<const std::string> ids) {
    return ask(id::kSubnet,
               aws::kEc2,
               "DescribeSubnets",
               numbered("SubnetId", ids),
               describe("subnets"),
               read_subnets);
  }
  std::optional<std::vector<SecurityGroup>> groups(std::span<const std::string> ids) {
    return ask(id::kSecurityGroup,
               aws::kEc2,
               "DescribeSecurityGroups",
               numbered("GroupId", ids),
               describe("security-groups"),
               read_security_groups);
  }

  void ask_subnets() {
    if (plan_.subnets.empty()) return;
    if (auto found = subnets(plan_.subnets)) facts_.subnets = std::move(*found);
    for (const Subnet& subnet : facts_.subnets) {
      report_.add({id::kSubnet,
                   Severity::kOk,
                   fmt::format("{} in {}, {}", subnet.id, subnet.zone, subnet.vpc),
                   "",
                   ""});
    }
  }
  void ask_groups() {
    if (plan_.security_groups.empty()) return;
    if (auto found = groups(plan_.security_groups)) facts_.groups = std::move(*found);
    for (const SecurityGroup& group : facts_.groups) {
      report_.add(
          {id::kSecurityGroup,
           Severity::kOk,
           fmt::format(
               "{}, {} rules in and {} out", group.id, group.inbound.size(), group.outbound.size()),
           "",
           ""});
    }
  }

  void ask_file_system() {
    if (plan_.file_system.empty()) return;
    step(id::kFileSystem, "asking FSx for " + plan_.file_system);
    const auto answer = client_.call(
        aws::kFsx, "DescribeFileSystems", {{"FileSystemIds", {plan_.file_system}}}, stop_);
    const std::string list =
        fmt::format("aws fsx describe-file-systems --region {}", facts_.region);
    if (!answer) return could_not(id::kFileSystem, answer.error(), list);
    auto systems = read_file_systems(*answer);
    if (systems.empty()) {
      report_.add(
          {id::kFileSystem, Severity::kFailure, plan_.file_system + " is not there", "", list});
      return;
    }
    facts_.file_system = std::move(systems.front());
    ask_associations();
    ask_surroundings(*facts_.file_system);
  }

  void ask_associations() {
    step(id::kAssociation, "asking FSx for the associations of " + plan_.file_system);
    const nlohmann::json filter = {{"Name", "file-system-id"}, {"Values", {plan_.file_system}}};
    const auto answer = client_.call(aws::kFsx,
                                     "DescribeDataRepositoryAssociations",
                                     {{"Filters", nlohmann::json::array({filter})}},
                                     stop_);
    if (answer) {
      facts_.associations = read_associations(*answer);
      return;
    }
    // SCRATCH_1 and old PERSISTENT_1 file systems have none.
    if (answer.error().code == ErrorCode::kInvalidInput) return;
    could_not(id::kAssociation, answer.error(), "");
  }

  // Its subnets, and the groups that its interfaces really carry.
  void ask_surroundings(const FileSystem& system) {
    if (!system.subnets.empty()) {
      if (auto found = subnets(system.subnets)) facts_.file_system_subnets = std::move(*found);
    }
    if (system.interfaces.empty()) return;
    const auto some =
        std::span(system.interfaces).first(std::min(system.interfaces.size(), kInterfacesAsked));
    const auto interfaces = ask(id::kLustrePorts,
                                aws::kEc2,
                                "DescribeNetworkInterfaces",
                                numbered("NetworkInterfaceId", some),
                                describe("network-interfaces"),
                                read_interfaces);
    if (!interfaces) return;
    std::set<std::string> ids;
    for (const NetworkInterface& one : *interfaces)
      ids.insert(one.groups.begin(), one.groups.end());
    if (ids.empty()) return;
    const std::vector<std::string> wanted(ids.begin(), ids.end());
    facts_.file_system_groups = groups(wanted);
  }

  void ask_efa() {
    std::string_view type = plan_.instance_type;
    if (type.starts_with("ml.")) type.remove_prefix(3);
    if (type.empty()) return;
    const std::vector<std::string> types = {std::string(type)};
    facts_.efa = ask(id::kEfaRules,
                     aws::kEc2,
                     "DescribeInstanceTypes",
                     numbered("InstanceType", types),
                     "aws ec2 describe-instance-types --query 'InstanceTypes[].InstanceType'",
                     read_efa_support);
  }

  void ask_routes() {
    for (const Subnet& subnet : facts_.subnets) {
      auto tables = route_tables({{"association.subnet-id", subnet.id}});
      // One that is associated with none has the VPC's main table.
      if (tables && tables->empty()) {
        tables = route_tables({{"vpc-id", subnet.vpc}, {"association.main", "true"}});
      }
      if (tables && !tables->empty()) facts_.route_tables[subnet.id] = std::move(tables->front());
    }
    facts_.s3_endpoints =
        ask(id::kS3Route,
            aws::kEc2,
            "DescribeVpcEndpoints",
            filters({{"vpc-id", facts_.subnets.front().vpc}, {"service-name", s3_service()}}),
            describe("vpc-endpoints"),
            read_endpoints);
  }
  std::optional<std::vector<RouteTable>> route_tables(
      const std::vector<std::pair<std::string, std::string>>& which) {
    return ask(id::kS3Route,
               aws::kEc2,
               "DescribeRouteTables",
               filters(which),
               describe("route-tables"),
               read_route_tables);
  }
  std::string s3_service() const { return fmt::format("com.amazonaws.{}.s3", facts_.region); }

  // S3's, and those that rules name.
  void ask_prefix_lists() {
    if (facts_.groups.empty()) return;
    const auto read = [&](const pugi::xml_node& answer) {
      for (const auto& item : answer.child("prefixListSet").children("item")) {
        facts_.s3_prefix_list = item.child("prefixListId").text().as_string();
        for (const auto& range : item.child("cidrSet").children("item")) {
          add_range(facts_.s3_prefix_list, range.text().as_string());
        }
      }
      return true;
    };
    ask(id::kS3Egress,
        aws::kEc2,
        "DescribePrefixLists",
        filters({{"prefix-list-name", s3_service()}}),
        "aws ec2 describe-prefix-lists",
        read);
    std::set<std::string> named;
    const auto collect = [&](const std::vector<SecurityGroup>& groups) {
      for (const SecurityGroup& group : groups) {
        for (const auto* const rules : {&group.inbound, &group.outbound}) {
          for (const SecurityRule& rule : *rules) {
            named.insert(rule.prefix_lists.begin(), rule.prefix_lists.end());
          }
        }
      }
    };
    collect(facts_.groups);
    if (facts_.file_system_groups) collect(*facts_.file_system_groups);
    for (const std::string& list : named) {
      if (!facts_.prefix_lists.contains(list)) ask_entries(list);
    }
  }
  void ask_entries(const std::string& list) {
    ask(id::kLustrePorts,
        aws::kEc2,
        "GetManagedPrefixListEntries",
        {{"PrefixListId", list}},
        "aws ec2 describe-managed-prefix-lists",
        [&](const pugi::xml_node& answer) {
          for (const auto& entry : answer.child("entrySet").children("item")) {
            add_range(list, entry.child("cidr").text().as_string());
          }
          return true;
        });
  }
  void add_range(const std::string& list, std::string_view text) {
    if (const auto range = parse_address_range(text)) facts_.prefix_lists[list].push_back(*range);
  }

  const JobPlan& plan_;
  JobFacts facts_;
};

class RoleTalk : public AwsTalk {
 public:
  RoleTalk(aws::AwsClient& client, const JobPlan& plan, Report& report, std::stop_token stop)
      : AwsTalk(client, report, std::move(stop)), plan_(plan), name_(role_name_of(plan.role)) {}

  void run() {
    struct Role {
      std::string arn;
      std::string trust;
    };
    const auto role = ask(id::kRole,
                          aws::kIam,
                          "GetRole",
                          {{"RoleName", name_}},
                          "aws iam list-roles --query 'Roles[].RoleName'",
                          [](const pugi::xml_node& answer) {
                            const auto node = answer.child("Role");
                            return Role{node.child("Arn").text().as_string(),
                                        node.child("AssumeRolePolicyDocument").text().as_string()};
                          });
    std::string arn = plan_.role;
    if (role) {
      arn = role->arn;
      report_.add({id::kRole, Severity::kOk, arn, "", ""});
      report_.add(trust_finding(name_, role->trust));
    }
    if (arn.starts_with("arn:")) ask_permissions(arn);
  }

 private:
  // Asks for one need after the other; the first refusal holds for all.
  void ask_permissions(const std::string& arn) {
    std::vector<Decision> decisions;
    for (const Need& need : needs_of(plan_, client_.region(), account_of(arn))) {
      aws::QueryParameters parameters = numbered("ActionNames.member", need.actions);
      parameters.emplace_back("PolicySourceArn", arn);
      parameters.emplace_back("ResourceArns.member.1", need.resource);
      if (!need.context_value.empty()) {
        parameters.emplace_back("ContextEntries.member.1.ContextKeyName", need.context_key);
        parameters.emplace_back("ContextEntries.member.1.ContextKeyType", "string");
        parameters.emplace_back("ContextEntries.member.1.ContextKeyValues.member.1",
                                need.context_value);
      }
      auto found = ask(id::kRolePermissions,
                       aws::kIam,
                       "SimulatePrincipalPolicy",
                       parameters,
                       "aws iam list-roles --query 'Roles[].Arn'",
                       read_decisions);
      if (!found) return;
      for (Decision& decision : *found) {
        decision.resource = need.resource;
        decisions.push_back(std::move(decision));
      }
    }
    report_.add(permission_finding(name_, decisions));
  }

  const JobPlan& plan_;
  const std::string name_;
};

}  // namespace

std::vector<Check> job_checks(const std::shared_ptr<aws::AwsClient>& client, const JobPlan& plan) {
  std::vector<Check> checks;
  if (!plan.subnets.empty() || !plan.security_groups.empty() || !plan.file_system.empty()) {
    checks.push_back({{id::kSubnet, "asking EC2", Severity::kWarning},
                      [client, plan](Report& report, const std::stop_token& stop) {
                        NetworkTalk(*client, plan, report, stop).run();
                      }});
  }
  if (!plan.role.empty()) {
    checks.push_back({{id::kRole, "asking IAM", Severity::kWarning},
                      [client, plan](Report& report, const std::stop_token& stop) {
                        RoleTalk(*client, plan, report, stop).run();
                      }});
  }
  return checks;
}

Result<std::shared_ptr<aws::AwsClient>> open_job_client(const std::string& region) {
  const storage::AwsConfig config =
      ATOLL_TRY(storage::read_aws_config(storage::environment_variable));
  const auto engine = ATOLL_TRY(storage::HttpEngine::make({.ca_bundle = config.ca_bundle}));
  aws::AwsClientOptions options;
  if (config.region.empty()) options.region = region;
  options.retries.deadline = kRetryDeadline;
  options.http = [engine](storage::HttpRequest request) {
    request.connect_timeout = std::min(request.connect_timeout, kConnectTimeout);
    request.stall_timeout = std::min(request.stall_timeout, kAnswerDeadline);
    request.deadline = request.deadline.count() > 0 ? std::min(request.deadline, kAnswerDeadline)
                                                    : kAnswerDeadline;
    return engine->perform(request);
  };
  return aws::AwsClient::open(std::move(options));
}

}  // namespace atl::doctor
