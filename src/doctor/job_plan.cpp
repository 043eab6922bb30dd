#include <fmt/format.h>

#include "aws/ids.h"
#include "doctor/job_checks.h"

namespace atl::doctor {

Result<void> check_job_plan(const JobPlan& plan) {
  const auto refuse = [](std::string_view text, std::string_view like) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("\"{}\" is no such id", text),
                fmt::format("it looks like {}", like));
  };
  for (const std::string& subnet : plan.subnets) {
    if (!aws::is_subnet_id(subnet)) return refuse(subnet, "subnet-0123456789abcdef0");
  }
  for (const std::string& group : plan.security_groups) {
    if (!aws::is_security_group_id(group)) return refuse(group, "sg-0123456789abcdef0");
  }
  if (!plan.file_system.empty() && !aws::is_file_system_id(plan.file_system)) {
    return refuse(plan.file_system, "fs-0123456789abcdef0");
  }
  if (!plan.role.empty() && !aws::is_role_arn(plan.role) && !aws::is_role_name(plan.role)) {
    return refuse(plan.role, "atoll-job or arn:aws:iam::123456789012:role/atoll-job");
  }
  return {};
}

}  // namespace atl::doctor
