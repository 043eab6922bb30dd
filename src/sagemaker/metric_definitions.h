// What a job's MetricDefinitions say, so that SageMaker finds Atoll's numbers in the log and draws them: the progress
// line, which a log gets every ten seconds, and the line after an evaluation.
#pragma once

#include <span>

namespace atl::sagemaker {

struct MetricDefinition {
  const char* name;
  const char* regex;  // one group: the number
};

// Within CreateTrainingJob's limits: at most 40, names of 255 and expressions of 500 characters.
std::span<const MetricDefinition> metric_definitions();

}  // namespace atl::sagemaker
