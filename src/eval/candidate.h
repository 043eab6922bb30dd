// A detection as matching sees it, whether its mask is runs or still text; internal to this room.
#pragma once

#include <array>
#include <cstdint>

#include "dataset/rle.h"
#include "eval/result_record.h"

namespace atl::eval::internal {

struct Candidate {
  uint32_t category = 0;  // position among the dataset's categories
  double score = 0;
  std::array<double, 4> box = {};
  double area = 0;
  // One of them, or neither: then the box stands for the mask. They must outlive the candidate.
  const dataset::Rle* mask = nullptr;
  const ResultRecord* record = nullptr;
};

}  // namespace atl::eval::internal
