#include "sagemaker/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "sagemaker/archive.h"
#include "storage/storage.h"

namespace atl::sagemaker {
namespace {

tl::unexpected<Error> wrong(std::string message, std::string hint) {
  return fail(ErrorCode::kInvalidInput, std::move(message), std::move(hint));
}

std::string without_slash(std::string folder) {
  while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
  return folder;
}

constexpr std::string_view kWeightFile = ".safetensors";

// The only weight file right in the folder; "" where there is none or several. An evaluation may take the model.tar.gz of
// another job, too; a run that goes on later needs a file that stays.
Result<std::string> only_weights_in(const std::string& folder, Mode mode) {
  const auto store = ATOLL_TRY(storage::open_store(folder));
  std::vector<std::string> keys;
  ATOLL_TRY(store->list("", [&](const storage::ObjectInfo& info) {
    const bool weights =
        info.key.ends_with(kWeightFile) || (mode == Mode::kEvaluate && is_archive_name(info.key));
    if (weights && info.key.find('/') == std::string::npos) keys.push_back(info.key);
    return true;
  }));
  const auto usual = std::ranges::find(keys, "model.safetensors");
  if (usual != keys.end()) return fmt::format("{}/{}", folder, *usual);
  return keys.size() == 1 ? fmt::format("{}/{}", folder, keys.front()) : std::string();
}

}  // namespace

Result<std::string> find_weights(const Settings& settings,
                                 const std::vector<ChannelFolder>& channels,
                                 const Paths& paths,
                                 const std::string& run_folder,
                                 std::vector<std::string>& notes) {
  if (settings.weights) {
    if (!settings.checkpoint.empty()) {
      notes.push_back(fmt::format("the hyperparameter weights decides; checkpoint = {} is not read",
                                  settings.checkpoint));
    }
    return paths.here(*settings.weights);
  }
  if (!settings.checkpoint.empty()) {
    const std::string path = paths.here(settings.checkpoint);
    const bool archive = settings.mode == Mode::kEvaluate && is_archive_name(path);
    if (path.ends_with(kWeightFile) || archive) return path;
    std::string inside = ATOLL_TRY(only_weights_in(without_slash(path), settings.mode));
    if (!inside.empty()) return inside;
    return wrong(
        fmt::format("checkpoint = {} is no weight file that Atoll reads", settings.checkpoint),
        "give weights = FILE.safetensors (torchvision's names), or weights = \"\" to begin "
        "with random ones; checkpoints of TensorFlow and pickles are not read");
  }
  for (const auto& channel : channels) {
    const std::string& name = channel.channel.name;
    if (name == "config" || holds_data(name)) continue;
    std::string inside =
        ATOLL_TRY_CONTEXT(only_weights_in(channel.folder, settings.mode), shown(channel));
    if (inside.empty()) {
      return wrong(fmt::format("{}: there is no weight file in it, or several", shown(channel)),
                   "put one FILE.safetensors there, of a model.tar.gz the model.safetensors in it; "
                   "or name it "
                   "by the hyperparameter weights");
    }
    return inside;
  }
  if (settings.mode != Mode::kEvaluate) return std::string();
  const std::string folder =
      settings.model_dir.empty() ? run_folder : without_slash(paths.here(settings.model_dir));
  std::string inside = ATOLL_TRY(only_weights_in(folder, settings.mode));
  if (!inside.empty()) return inside;
  return wrong(fmt::format("there is no model to evaluate: no weight file in {}", folder),
               "give weights = FILE.safetensors, or a channel \"model\" that holds one");
}

}  // namespace atl::sagemaker
