// The metadata of a checkpoint: a state or an error, and what is accepted survives being written and
// read again. The checksum is a constant here, so that the parser behind it is reached.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "train/run_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto checksum_of = [](std::string_view) { return std::string("x"); };
  const auto state = atl::train::run_state_from_json(text, "seed", checksum_of);
  if (!state) {
    ATOLL_CHECK(!state.error().to_string().empty());
    return 0;
  }
  ATOLL_CHECK(state->step >= 0);
  ATOLL_CHECK(state->categories.ids.size() == state->categories.names.size());
  const auto written = to_json(*state, checksum_of);
  const auto again = atl::train::run_state_from_json(written, "again", checksum_of);
  ATOLL_CHECK(again.has_value()) << again.error().to_string();
  ATOLL_CHECK(*again == *state);
  return 0;
}
