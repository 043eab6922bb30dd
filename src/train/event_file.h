// TensorBoard's event file: scalars by step, as TFRecords (dataset/tfrecord.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "train/append_log.h"

namespace atl::train {

using Scalar = std::pair<std::string, double>;

class EventFile {
 public:
  // "events.out.tfevents.<seconds>.<host>". A run that goes on at `first_step` says so, and
  // TensorBoard drops what an earlier file has beyond that step.
  static Result<EventFile> open(storage::ObjectStore& store,
                                double seconds_since_1970,
                                int64_t first_step);

  void add(int64_t step, double seconds_since_1970, std::span<const Scalar> scalars);
  Result<void> flush() { return log_.flush(); }

 private:
  explicit EventFile(AppendLog log) : log_(std::move(log)) {}
  AppendLog log_;
};

}  // namespace atl::train
