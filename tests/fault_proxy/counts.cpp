#include "counts.h"

#include <nlohmann/json.hpp>

namespace atl::fault_proxy {

void Counts::reset() {
  const std::scoped_lock lock(mutex_);
  connections_ = unplugged_ = 0;
  most_at_once_ = under_way_;
  requests_.clear();
  request_bytes_.clear();
  response_bytes_.clear();
  faults_.fill(0);
}

std::string Counts::to_json() const {
  const std::scoped_lock lock(mutex_);
  nlohmann::json faults = {{"unplugged", unplugged_}};
  for (size_t i = 1; i < kFaults; ++i) faults[fault_name(static_cast<Fault>(i))] = faults_[i];
  return nlohmann::json({
                            {"connections", connections_},
                            {"under_way", under_way_},
                            {"most_at_once", most_at_once_},
                            {"requests", requests_},
                            {"request_bytes", request_bytes_},
                            {"response_bytes", response_bytes_},
                            {"faults", faults},
                        })
      .dump();
}

}  // namespace atl::fault_proxy
