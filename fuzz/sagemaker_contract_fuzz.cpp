// Input: hyperparameters.json and inputdataconfig.json of a training job, with a byte 0 between them. What is accepted says
// the same when it is written down again, and every setting names a key.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.h"
#include "sagemaker/contract.h"
#include "sagemaker/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::sagemaker;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t middle = input.find('\0');

  if (const auto parsed = parse_hyperparameters(input.substr(0, middle))) {
    nlohmann::json again = nlohmann::json::object();
    for (const auto& [name, value] : *parsed) again[name] = nlohmann::json(value).dump();
    const auto twice = parse_hyperparameters(again.dump());
    ATOLL_CHECK(twice && twice->size() == parsed->size());
    const auto settings = settings_of(*parsed, 8);
    if (settings) {
      for (const std::string& set : settings->sets) {
        const size_t equals = set.find('=');
        ATOLL_CHECK(equals != std::string::npos && equals > 0) << set;
      }
    } else {
      ATOLL_CHECK(!settings.error().message.empty());
    }
  }
  if (middle == std::string_view::npos) return 0;
  if (const auto channels = parse_input_data_config(input.substr(middle + 1))) {
    for (const auto& channel : *channels) {
      ATOLL_CHECK(channel.name.find('/') == std::string::npos && channel.name != "..");
    }
  }
  return 0;
}
