// Starting a run from a weight file: of the same shape, or of the same shape but for the layers
// that depend on the classes, which then start anew.
#pragma once

#include <string>

#include "base/error.h"
#include "model/mask_rcnn.h"

namespace atl::train {

// Returns a line for people: what was loaded, and which layers start anew and why. kInvalidInput:
// another architecture, with the tensors that differ.
Result<std::string> load_initial_weights(model::MaskRcnn& model,
                                         const model::CategoryMap& categories,
                                         const std::string& uri);

}  // namespace atl::train
