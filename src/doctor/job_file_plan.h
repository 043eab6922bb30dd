// What a job file says of a job's AWS side. What the plan names already, from the command line, stays.
#pragma once

#include "doctor/job_checks.h"
#include "sagemaker/job_file.h"

namespace atl::doctor {

JobPlan with_job_file(JobPlan plan, const sagemaker::JobFile& file);

}  // namespace atl::doctor
