// The table of configuration keys: the one place where a key's name, meaning, field, range and
// whether a run may change it on the way are written down. Parsing, writing, comparing and the
// documentation all walk over it.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "train/config.h"

namespace atl::train {

// Where a key's value lives in a RunConfig.
using Slot = std::variant<std::string*,
                          bool*,
                          int*,
                          int64_t*,
                          uint64_t*,
                          double*,
                          std::vector<double>*,
                          std::vector<int64_t>*,
                          std::array<float, 3>*,
                          std::array<double, 4>*,
                          model::Norm*>;

enum class OnResume {
  kFixed,  // decides what is computed: a change is refused when a run is resumed
  kFree,
};

struct ConfigKey {
  std::string_view name;  // "train.steps"; without a dot for the top level
  std::string_view comment;
  Slot (*slot)(RunConfig&);
  OnResume on_resume = OnResume::kFixed;
  // Numbers, each one of a list: low <= x <= high.
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  // Strings: one of these, where there are any.
  std::vector<std::string_view> choices;
};

// In the order in which config.toml lists them: top level first, then section by section.
std::span<const ConfigKey> config_keys();

// A matter of the machine that a rank runs on, so that ranks may differ in it.
bool is_machines_own(const ConfigKey& key);

}  // namespace atl::train
