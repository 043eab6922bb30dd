// The learning rate of each step: a pure function of the step, so that a resumed run needs no
// state.
//
//   rate(s) = learning_rate * global_batch / base_batch * warm(s) * decay(s)
//   warm    linear from warmup_factor at step 0 to 1 at warmup_steps
//   decay   multistep: gamma for each milestone passed; cosine: from 1 to 0 after the warm-up
// Source: Goyal et al. 2017 (linear scaling, warm-up); Loshchilov & Hutter 2017 (cosine).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/config.h"

namespace atl::train {

class Schedule {
 public:
  // `steps` of the whole run, at least 1.
  Schedule(const TrainConfig& config, int64_t steps);

  double rate(int64_t step) const;
  int64_t warmup_steps() const { return warmup_steps_; }
  // "learning rate 0.01 = 0.02 x 8 / 16 images, warm-up 100 steps, …", for the start of a run.
  std::string describe() const;

 private:
  TrainConfig config_;
  int64_t steps_ = 1;
  int64_t warmup_steps_ = 0;
  double peak_ = 0;
  std::vector<int64_t> milestones_;
};

}  // namespace atl::train
