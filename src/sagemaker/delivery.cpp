#include "sagemaker/delivery.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace atl::sagemaker {
namespace {

constexpr std::string_view kModel = "model.safetensors";
constexpr std::array<std::string_view, 3> kForModel = {kModel, "best.safetensors", "config.toml"};
// Files, and those that begin so.
constexpr std::array<std::string_view, 6> kForOutput = {
    "eval.json", "predictions.json", "metrics.jsonl", "trace.json", "pictures/", "events.out."};

bool is_for_output(std::string_view key) {
  return std::ranges::any_of(kForOutput, [&](std::string_view name) {
    const bool begins = name.ends_with('/') || name.ends_with('.');
    return begins ? key.starts_with(name) : key == name;
  });
}

Result<void> copy(storage::ObjectStore& from, storage::ObjectStore& to, const std::string& key) {
  const auto bytes = ATOLL_TRY(from.get(key));
  const std::span<const std::byte> part = bytes.bytes();
  return to.put(key, std::span(&part, 1));
}

}  // namespace

Result<Delivered> deliver(storage::ObjectStore& run,
                          storage::ObjectStore& model,
                          storage::ObjectStore& output_data) {
  Delivered delivered;
  std::vector<std::string> for_model, for_output;
  ATOLL_TRY(run.list("", [&](const storage::ObjectInfo& info) {
    if (std::ranges::find(kForModel, info.key) != kForModel.end()) for_model.push_back(info.key);
    if (is_for_output(info.key)) for_output.push_back(info.key);
    return true;
  }));
  const auto copy_all = [&](const std::vector<std::string>& keys,
                            storage::ObjectStore& to) -> Result<void> {
    for (const std::string& key : keys) {
      auto copied = copy(run, to, key);
      if (!copied) {
        Error error = std::move(copied).error();
        if (error.hint.empty()) {
          error.hint = fmt::format(
              "the whole run is in {}; a full volume needs a larger VolumeSizeInGB", run.uri());
        }
        return tl::unexpected(std::move(error).with_context("handing the results over"));
      }
      delivered.model = delivered.model || key == kModel;
      ++delivered.files;
    }
    return {};
  };
  // The model first: where room ends, the rest can be done without.
  ATOLL_TRY(copy_all(for_model, model));
  ATOLL_TRY(copy_all(for_output, output_data));
  return delivered;
}

}  // namespace atl::sagemaker
