// What a job file says of a job's AWS side.
#pragma once

#include <vector>

#include "doctor/finding.h"
#include "doctor/job_checks.h"
#include "sagemaker/job_file.h"

namespace atl::doctor {

// What the plan names already, from the command line, stays.
JobPlan with_job_file(JobPlan plan, const sagemaker::JobFile& file);

// What `atoll job submit` would refuse, a finding each, or that it would take the file; before them what keeps
// the plan that was made with it from being looked at (check_job_plan).
std::vector<Finding> job_file_findings(const sagemaker::JobFile& file, const JobPlan& plan);

}  // namespace atl::doctor
