// What a run measures: one JSON line each in metrics.jsonl, and the same as TensorBoard scalars.
//
//   {"step":12,"epoch":0,"learning_rate":0.002,"loss":1.3,"loss_objectness":…, (five losses)
//    "images_per_s":9.1,"data_wait_share":0.01,"gradient_norm":3.2,"skipped":false}
//   with several ranks also "gradient_sum_s":0.2,"gradient_sum_hidden":0.9: rank 0's view of how long the
//   gradients were being summed, and the share of that which its backward pass hid
//   {"step":400,"bbox":[12 numbers],"segm":[12 numbers]}
//
// Numbers have 9 significant digits, enough for any float; one that is not finite is null. Lines
// appear in the file about once a second; a run that goes on at a checkpoint drops the lines after
// it, so that the file reads as one run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "eval/eval.h"
#include "parallel/gradients.h"
#include "train/append_log.h"
#include "train/event_file.h"

namespace atl::train {

struct StepMetrics {
  int64_t step = 0;  // counted from 1: the steps done with this one
  int64_t epoch = 0;
  double learning_rate = 0;
  double loss = 0;
  std::vector<Scalar> losses;
  double images_per_s = 0;
  double data_wait_share = 0;
  double gradient_norm = 0;
  std::optional<parallel::SumTimes> sum_times;
  bool skipped = false;
};

std::string to_json_line(const StepMetrics& metrics);
std::string to_json_line(int64_t step, const eval::Evaluation& evaluation);

class Metrics {
 public:
  static Result<Metrics> open(storage::ObjectStore& store, uint64_t keep_bytes, int64_t first_step);

  void add(const StepMetrics& metrics);
  void add(int64_t step, const eval::Evaluation& evaluation);
  Result<void> flush();
  // flush(), but at most about once a second.
  Result<void> flush_sometimes();
  uint64_t bytes() const { return lines_.size_bytes(); }

 private:
  Metrics(AppendLog lines, EventFile events)
      : lines_(std::move(lines)), events_(std::move(events)) {}
  AppendLog lines_;
  EventFile events_;
  double last_flush_s_ = 0;
};

}  // namespace atl::train
