// The weights that a job begins with, or evaluates: of a hyperparameter, of the lab's checkpoint, of a channel that is
// called weights, model, pretrained or checkpoint, or of the run.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "sagemaker/channels.h"

namespace atl::sagemaker {

// The weights to begin with, or in Mode::kEvaluate to evaluate; "" = random ones. What was decided for a person is added
// to `notes`. kInvalidInput: a checkpoint that Atoll does not read.
Result<std::string> find_weights(const Settings& settings,
                                 const std::vector<ChannelFolder>& channels,
                                 const Paths& paths,
                                 const std::string& run_folder,
                                 std::vector<std::string>& notes);

}  // namespace atl::sagemaker
