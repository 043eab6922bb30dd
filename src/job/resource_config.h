// SageMaker's /opt/ml/input/config/resourceconfig.json: which hosts a training job has, and which one this is. Source:
// "How Amazon SageMaker AI Provides Training Information" (developer guide); local mode writes four of its keys.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::job {

constexpr const char* kSageMakerRoot = "/opt/ml";
// Names another one, for jobs that are tried out on one machine, each host with a folder of its own.
constexpr const char* kSageMakerRootVariable = "ATOLL_SAGEMAKER_ROOT";

struct ResourceConfig {
  std::vector<std::string> hosts;  // sorted, so that all hosts have the same order; no two alike
  int current = 0;                 // which of them this one is
  std::string network_interface;   // "" where it is not said

  bool operator==(const ResourceConfig&) const = default;
};

constexpr size_t kMaxResourceConfigBytes = 4 << 20;

// Errors: kInvalidInput says which key is wrong; kUnsupported: several types of instances, whose hosts would not start
// the same number of ranks.
Result<ResourceConfig> parse_resource_config(std::string_view json);

}  // namespace atl::job
