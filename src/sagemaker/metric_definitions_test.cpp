// That they find what is really printed is tested with a run, in cli/container_test.cpp.
#include "sagemaker/metric_definitions.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

namespace atl::sagemaker {
namespace {

TEST(MetricDefinitions, they_keep_to_the_limits_of_a_training_job) {
  const auto definitions = metric_definitions();
  EXPECT_LE(definitions.size(), 40U);
  std::set<std::string> names;
  for (const auto& definition : definitions) {
    names.insert(definition.name);
    EXPECT_LE(std::string(definition.name).size(), 255U);
    EXPECT_LE(std::string(definition.regex).size(), 500U);
    EXPECT_EQ(std::regex(definition.regex).mark_count(), 1U) << definition.name;
  }
  EXPECT_EQ(names.size(), definitions.size());
}

}  // namespace
}  // namespace atl::sagemaker
