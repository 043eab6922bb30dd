#include "sagemaker/contract.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "storage/local_store.h"

namespace atl::sagemaker {
namespace {

using Json = nlohmann::json;

constexpr const char* kHyperparameters = "hyperparameters.json";
constexpr const char* kInputData = "inputdataconfig.json";
constexpr const char* kResources = "resourceconfig.json";
constexpr size_t kMaxInputDataBytes = 4 << 20;

tl::unexpected<Error> wrong(std::string message, std::string hint = {}) {
  return fail(ErrorCode::kInvalidInput, std::move(message), std::move(hint));
}

// The channel becomes a folder's name, and may come from anywhere.
bool is_channel_name(std::string_view name) {
  constexpr size_t kLongestName = 64;  // CreateTrainingJob's
  return !name.empty() && name.size() <= kLongestName && name != "." && name != ".." &&
         std::ranges::all_of(name, [](unsigned char c) {
           return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_');
         });
}

std::string text_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<Channel> read_channel(const std::string& name, const Json& description) {
  if (!is_channel_name(name)) {
    return wrong("a channel's name is not of letters, digits, '.', '-' and '_'");
  }
  if (!description.is_object()) return wrong(fmt::format("channel {} is no JSON object", name));
  Channel channel{.name = name};
  const std::string mode = text_at(description, "TrainingInputMode");
  if (mode == "FastFile") {
    channel.mode = InputMode::kFastFile;
  } else if (mode == "Pipe") {
    channel.mode = InputMode::kPipe;
  } else if (!mode.empty() && mode != "File") {
    return fail(ErrorCode::kUnsupported,
                fmt::format("channel {} has the unknown TrainingInputMode \"{}\"", name, mode),
                "use FastFile, File or Pipe");
  }
  channel.record_io = text_at(description, "RecordWrapperType") == "RecordIO";
  channel.sharded = text_at(description, "S3DistributionType") == "ShardedByS3Key";
  return channel;
}

// Where nothing describes them.
Result<std::vector<Channel>> channels_by_folder(const Paths& paths) {
  storage::LocalStore data(paths.channels());
  std::set<std::string> names;
  ATOLL_TRY(data.list("", [&](const storage::ObjectInfo& info) {
    const size_t slash = info.key.find('/');
    if (slash != std::string::npos) names.insert(info.key.substr(0, slash));
    return true;
  }));
  std::vector<Channel> channels;
  for (const std::string& name : names) {
    if (is_channel_name(name)) channels.push_back({.name = name});
  }
  return channels;
}

}  // namespace

std::string Paths::here(std::string path) const {
  const std::string_view usual = job::kSageMakerRoot;
  const size_t begin = path.starts_with("tfrecord:") ? std::string_view("tfrecord:").size() : 0;
  const bool inside = path.compare(begin, usual.size(), usual) == 0 &&
                      (path.size() == begin + usual.size() || path[begin + usual.size()] == '/');
  if (inside) path.replace(begin, usual.size(), root);
  return path;
}

Result<std::vector<Channel>> parse_input_data_config(std::string_view json) {
  if (json.size() > kMaxInputDataBytes) {
    return wrong(fmt::format("is larger than {} bytes", kMaxInputDataBytes));
  }
  const Json document = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded() || !document.is_object()) return wrong("is no JSON object");
  std::vector<Channel> channels;
  for (const auto& [name, description] : document.items()) {
    auto channel = read_channel(name, description);
    if (!channel) return tl::unexpected(std::move(channel).error());
    channels.push_back(*std::move(channel));
  }
  return channels;
}

bool has_contract(const Paths& paths) {
  storage::LocalStore config(paths.config());
  return config.head(kHyperparameters).has_value();
}

Result<Contract> read_contract(const Paths& paths) {
  storage::LocalStore config(paths.config());
  const auto path = [&](const char* file) { return fmt::format("{}/{}", paths.config(), file); };
  Contract contract{.paths = paths, .hyperparameters = {}, .channels = {}, .resources = {}};

  const auto resources = config.get(kResources);
  if (!resources && resources.error().code == ErrorCode::kNotFound) {
    return wrong(
        fmt::format("{} is not there", path(kResources)),
        "SageMaker writes it: as \"train\" this program expects to be its training container; "
        "elsewhere use atoll train --data DIR");
  }
  if (!resources) return tl::unexpected(resources.error());
  contract.resources =
      ATOLL_TRY_CONTEXT(job::parse_resource_config(resources->text()), path(kResources));

  const auto hyperparameters = config.get(kHyperparameters);
  if (hyperparameters) {
    contract.hyperparameters =
        ATOLL_TRY_CONTEXT(parse_hyperparameters(hyperparameters->text()), path(kHyperparameters));
  } else if (hyperparameters.error().code != ErrorCode::kNotFound) {
    return tl::unexpected(hyperparameters.error());
  }

  const auto input = config.get(kInputData);
  if (input) {
    contract.channels = ATOLL_TRY_CONTEXT(parse_input_data_config(input->text()), path(kInputData));
  } else if (input.error().code == ErrorCode::kNotFound) {
    contract.channels = ATOLL_TRY(channels_by_folder(paths));
  } else {
    return tl::unexpected(input.error());
  }
  return contract;
}

}  // namespace atl::sagemaker
