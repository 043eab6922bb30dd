// hyperparameters.json, as each sender writes it. SageMaker itself hands on texts; its SDK encodes every value as JSON once
// more (a text gets quotes, True becomes true), notebooks quote again, and a flag without a value comes as "". Here all of
// them are the same plain text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::sagemaker {

struct Hyperparameter {
  std::string name;
  std::string value;  // plain: tiny, 0.02, true, [0.5, 0.75]; "" where none was given

  bool operator==(const Hyperparameter&) const = default;
};

// Far above what CreateTrainingJob allows: 100 of 2,500 characters.
constexpr size_t kMaxHyperparametersBytes = 4 << 20;

// By name. kInvalidInput: no JSON object of texts, numbers, truth values and lists of these.
Result<std::vector<Hyperparameter>> parse_hyperparameters(std::string_view json);

// Without the quotes that senders have put around it; Python's True, False and None as true, false and "".
std::string plain_value(std::string_view sent);

}  // namespace atl::sagemaker
