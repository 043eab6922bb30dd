#include "train/schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/bytes.h"

namespace atl::train {

Schedule::Schedule(const TrainConfig& config, int64_t steps)
    : config_(config), steps_(steps), warmup_steps_(std::min(config.warmup_steps, steps / 2)) {
  peak_ = config.learning_rate * static_cast<double>(config.global_batch) /
          static_cast<double>(config.base_batch);
  for (const double share : config.milestones) {
    milestones_.push_back(std::llround(share * static_cast<double>(steps)));
  }
}

double Schedule::rate(int64_t step) const {
  double factor = 1;
  if (step < warmup_steps_) {
    const double done = static_cast<double>(step) / static_cast<double>(warmup_steps_);
    factor = config_.warmup_factor + (1 - config_.warmup_factor) * done;
  }
  if (config_.schedule == "cosine") {
    if (step >= warmup_steps_) {
      const double done = static_cast<double>(step - warmup_steps_) /
                          static_cast<double>(std::max<int64_t>(1, steps_ - warmup_steps_));
      factor *= 0.5 * (1 + std::cos(std::numbers::pi * std::min(done, 1.0)));
    }
  } else {
    for (const int64_t milestone : milestones_) {
      if (step >= milestone) factor *= config_.gamma;
    }
  }
  return peak_ * factor;
}

std::string Schedule::describe() const {
  std::string line = fmt::format("learning rate {:g}", peak_);
  if (config_.global_batch != config_.base_batch) {
    line += fmt::format(" = {:g} scaled by {} / {} images a step",
                        config_.learning_rate,
                        config_.global_batch,
                        config_.base_batch);
  }
  if (warmup_steps_ > 0) line += ", warm-up " + format_count(warmup_steps_, "step");
  if (warmup_steps_ < config_.warmup_steps) {
    line += fmt::format(" (not {}: at most half of the run)", config_.warmup_steps);
  }
  if (config_.schedule == "cosine") return line + ", then cosine to 0";
  if (milestones_.empty()) return line + ", then constant";
  return line +
         fmt::format(", times {:g} at steps {}", config_.gamma, fmt::join(milestones_, ", "));
}

}  // namespace atl::train
