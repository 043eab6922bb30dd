// The model's description in a weight file's metadata: a configuration within its limits or an
// error, and what is accepted survives being written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = atl::model::model_config_from_json(text);
  if (!config) {
    ATOLL_CHECK(!config.error().to_string().empty());
    return 0;
  }
  ATOLL_CHECK(atl::model::validate(*config).has_value());
  const auto again = atl::model::model_config_from_json(to_json(*config));
  ATOLL_CHECK(again.has_value()) << again.error().to_string();
  ATOLL_CHECK(*again == *config);
  return 0;
}
