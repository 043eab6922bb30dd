#include "sagemaker/metric_definitions.h"

#include <array>

namespace atl::sagemaker {

std::span<const MetricDefinition> metric_definitions() {
  // The lines: cli/progress_bar.cpp and train/loop.cpp. Numbers as %g writes them; of a loss that is none (nan, inf)
  // SageMaker could draw nothing.
  static constexpr std::array<MetricDefinition, 7> kDefinitions = {{
      {"train:loss", R"(train +[0-9]+ % [0-9]+/.*[ ,]loss ([0-9][0-9.]*(?:e[+-]?[0-9]+)?))"},
      {"train:learning_rate",
       R"(train +[0-9]+ % [0-9]+/.*[ ,]learning rate ([0-9][0-9.]*(?:e[+-]?[0-9]+)?))"},
      {"train:images_per_second", R"(train +[0-9]+ % [0-9]+/.*[ ,]([0-9][0-9.]*) images/s)"},
      {"train:data_wait_percent", R"(train +[0-9]+ % [0-9]+/.*[ ,]data wait ([0-9]+) %)"},
      {"train:step", R"(train +[0-9]+ % ([0-9]+)/)"},
      {"validation:bbox_AP", R"(step [0-9]+: bbox AP (-?[0-9.]+))"},
      {"validation:segm_AP", R"(step [0-9]+: bbox AP -?[0-9.]+, segm AP (-?[0-9.]+))"},
  }};
  return kDefinitions;
}

}  // namespace atl::sagemaker
