// Where a run stands, but for its tensors: what a checkpoint's manifest holds. No torch here.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/categories.h"

namespace atl::train {

struct RunState {
  int64_t step = 0;            // optimiser steps done; the next one is step `step`
  int64_t steps = 0;           // of the whole run, as it is configured now
  int64_t epoch = 0;           // of the last step, for people
  uint64_t metrics_bytes = 0;  // length of metrics.jsonl at this step
  double best_ap = -1;         // of the evaluations before this step; -1: none
  int64_t best_step = -1;
  int64_t bad_steps = 0;  // NaN or Inf losses in a row, up to here
  std::vector<std::string> bad_images;
  int64_t train_images = 0;  // that take part
  std::string config;        // config.toml
  model::CategoryMap categories;
  friend bool operator==(const RunState&, const RunState&) = default;
};

nlohmann::json json_of(const RunState& state);
// kCorrupt: damaged; kUnsupported: of another version. `name` is for messages.
Result<RunState> run_state_from_json(const nlohmann::json& json, std::string_view name);

std::string to_text(const RunState& state);
Result<RunState> run_state_from_text(std::string_view text, std::string_view name);

}  // namespace atl::train
