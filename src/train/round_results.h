// What a rank has found in some batches of an evaluation, as bytes for rank 0. Both ends are the same program.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "eval/eval.h"

namespace atl::train {

struct RoundResults {
  std::vector<std::vector<std::vector<eval::Detection>>> batches;  // of images, of detections
  std::vector<std::string> bad_images;                             // lines for people
};

// Numbers keep every bit.
std::string to_bytes(const RoundResults& results);
// kCorrupt: not what to_bytes() makes.
Result<RoundResults> round_results_from_bytes(std::string_view bytes);

}  // namespace atl::train
