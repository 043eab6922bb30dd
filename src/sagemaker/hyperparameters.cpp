#include "sagemaker/hyperparameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace atl::sagemaker {
namespace {

using Json = nlohmann::json;

// How often a text may have been quoted: once by the SDK, once by its user, and one to spare.
constexpr int kMostQuotings = 3;

bool is_plain(const Json& value) {
  return value.is_string() || value.is_number() || value.is_boolean() || value.is_null();
}

Result<std::string> text_of(const std::string& name, const Json& value) {
  if (value.is_string()) return plain_value(value.get_ref<const std::string&>());
  if (value.is_null()) return std::string();
  const bool list = value.is_array() && std::all_of(value.begin(), value.end(), is_plain);
  if (is_plain(value) || list) return value.dump();
  return fail(ErrorCode::kInvalidInput,
              fmt::format("the hyperparameter {} is no text, number, truth value or list", name),
              "write each key of the configuration as a hyperparameter of its own: train.steps");
}

}  // namespace

std::string plain_value(std::string_view sent) {
  std::string value(sent);
  for (int i = 0; i < kMostQuotings; ++i) {
    if (value.size() < 2 || value.front() != '"' || value.back() != '"') break;
    const Json inner = Json::parse(value, nullptr, /*allow_exceptions=*/false);
    if (!inner.is_string()) break;
    value = inner.get<std::string>();
  }
  if (value == "True") return "true";
  if (value == "False") return "false";
  if (value == "None" || value == "null") return "";
  return value;
}

Result<std::vector<Hyperparameter>> parse_hyperparameters(std::string_view json) {
  if (json.size() > kMaxHyperparametersBytes) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("is larger than {} bytes", kMaxHyperparametersBytes));
  }
  const Json document = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded() || !document.is_object()) {
    return fail(ErrorCode::kInvalidInput,
                "is no JSON object",
                R"(it should look like {"preset": "r50_fpn", "train.steps": "90000"})");
  }
  std::vector<Hyperparameter> hyperparameters;
  for (const auto& [name, value] : document.items()) {
    auto text = text_of(name, value);
    if (!text) return tl::unexpected(std::move(text).error());
    hyperparameters.push_back({name, *std::move(text)});
  }
  return hyperparameters;
}

}  // namespace atl::sagemaker
