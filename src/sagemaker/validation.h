// What SageMaker would refuse, and what cannot work, before any call is made.
//
// Limits are those of the API reference of CreateTrainingJob and of botocore 1.44's model; the further rules are the
// documentation's (what ids look like is aws/ids.h's): a path on Lustre begins with the file system's mount name, file systems need File mode and a VPC, spot
// instances a waiting time that is no shorter than the running time.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "sagemaker/job_file.h"

namespace atl::sagemaker {

// Each says the key in job.toml and what is allowed: "instances.count = 0 must be at least 1".
using Problems = std::vector<std::string>;

Problems problems_of_request(const JobFile& job);
// Of the job as `atoll job run` plays it, which needs neither image nor role.
Problems problems_of_local_run(const JobFile& job);

}  // namespace atl::sagemaker
