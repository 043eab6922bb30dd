// The state of a run, as ranks tell it each other and as it stands in a checkpoint's manifest: a state or an
// error, and what is accepted survives being written and read again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "train/run_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto state = atl::train::run_state_from_text(text, "seed");
  if (!state) {
    ATOLL_CHECK(!state.error().to_string().empty());
    return 0;
  }
  ATOLL_CHECK(state->step >= 0);
  ATOLL_CHECK(state->categories.ids.size() == state->categories.names.size());
  const auto again = atl::train::run_state_from_text(to_text(*state), "again");
  ATOLL_CHECK(again.has_value()) << again.error().to_string();
  ATOLL_CHECK(*again == *state);
  return 0;
}
