// A job as the request of CreateTrainingJob.
//
// Source: SageMaker API reference, CreateTrainingJob; a test holds what comes out against botocore's own model of it.
#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "sagemaker/job_file.h"
#include "sagemaker/metric_definitions.h"

namespace atl::sagemaker {

// `metrics` are what SageMaker finds in the log. `job` has no problems_of_request() (validation.h). What the file does not say, and what is as SageMaker has it anyway, is
// left out.
nlohmann::json training_job_request(const JobFile& job, std::span<const MetricDefinition> metrics);

}  // namespace atl::sagemaker
