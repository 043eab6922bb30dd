#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "doctor/job_checks.h"

namespace atl::doctor {
namespace {

bool is_id(std::string_view text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return text.size() >= 8 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_role(std::string_view text) {
  const std::string name = role_name_of(text);
  const bool is_arn = text.starts_with("arn:") && text.find(":role/") != std::string_view::npos;
  return (is_arn || name == text) && !name.empty() && name.size() <= 64 &&
         std::ranges::all_of(name, [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                  std::string_view("_+=,.@-").find(c) != std::string_view::npos;
         });
}

}  // namespace

Result<void> check_job_plan(const JobPlan& plan) {
  const auto refuse = [](std::string_view text, std::string_view like) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("\"{}\" is no such id", text),
                fmt::format("it looks like {}", like));
  };
  for (const std::string& subnet : plan.subnets) {
    if (!is_id(subnet, "subnet-")) return refuse(subnet, "subnet-0123456789abcdef0");
  }
  for (const std::string& group : plan.security_groups) {
    if (!is_id(group, "sg-")) return refuse(group, "sg-0123456789abcdef0");
  }
  if (!plan.file_system.empty() && !is_id(plan.file_system, "fs-")) {
    return refuse(plan.file_system, "fs-0123456789abcdef0");
  }
  if (!plan.role.empty() && !is_role(plan.role)) {
    return refuse(plan.role, "atoll-job or arn:aws:iam::123456789012:role/atoll-job");
  }
  return {};
}

}  // namespace atl::doctor
