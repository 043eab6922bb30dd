// predictions.json on its way: the detections of image after image in COCO's results format,
// written to a temporary file as they come, so that no number of images fills the memory.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"
#include "eval/eval.h"
#include "storage/spool.h"
#include "storage/storage.h"

namespace atl::train {

class PredictionsFile {
 public:
  static Result<PredictionsFile> create();

  Result<void> add(std::span<const eval::Detection> records);
  int64_t count() const { return count_; }
  // What eval::results_to_json gives for all records at once.
  Result<void> write_to(storage::ObjectStore& store, std::string_view key) &&;

 private:
  explicit PredictionsFile(storage::Spool spool) : spool_(std::move(spool)) {}

  storage::Spool spool_;
  int64_t count_ = 0;
};

}  // namespace atl::train
