// Weights in and out: by state-dict name between tensors, and as files that carry what is needed to
// use them again.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/mask_rcnn.h"
#include "model/safetensors.h"

namespace atl::model {
namespace {

constexpr const char* kModelKey = "atoll.model";
constexpr const char* kCategoriesKey = "atoll.categories";
constexpr size_t kShown = 10;  // of each kind of complaint

bool is_counter(std::string_view name) { return name.ends_with(".num_batches_tracked"); }

// "3 missing: a, b, c"; empty for none.
std::string describe(const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  const auto shown = static_cast<std::ptrdiff_t>(std::min(names.size(), kShown));
  return fmt::format("; {} {}: {}{}",
                     names.size(),
                     what,
                     fmt::join(names.begin(), names.begin() + shown, ", "),
                     names.size() > kShown ? ", …" : "");
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace

Result<void> MaskRcnn::load_state(const std::map<std::string, at::Tensor>& tensors) {
  std::vector<std::string> missing;
  std::vector<std::string> surplus;
  std::vector<std::string> misshapen;
  for (const auto& [name, own] : state()) {
    const auto given = tensors.find(name);
    if (given == tensors.end()) {
      if (!is_counter(name)) missing.push_back(name);
    } else if (given->second.sizes() != own.sizes()) {
      misshapen.push_back(fmt::format(
          "{} is {}, not {}", name, shape_text(given->second.sizes()), shape_text(own.sizes())));
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!state().contains(name) && !is_counter(name)) surplus.push_back(name);
  }
  if (!missing.empty() || !surplus.empty() || !misshapen.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("the weights are those of another network{}{}{}",
                            describe("missing", missing),
                            describe("unknown", surplus),
                            describe("of another shape", misshapen)),
                "check the preset, the number of classes and the model settings against the file");
  }
  const at::NoGradGuard no_grad;
  for (const auto& [name, own] : state()) {
    const auto given = tensors.find(name);
    if (given != tensors.end()) own.copy_(given->second);
  }
  return {};
}

Result<void> save_model(storage::ObjectStore& store,
                        std::string_view key,
                        const MaskRcnn& model,
                        const CategoryMap& categories) {
  return write_safetensors(store,
                           key,
                           model.state(),
                           {{"format", "pt"},
                            {kModelKey, to_json(model.config())},
                            {kCategoriesKey, to_json(categories)}});
}

Result<LoadedModel> load_model(storage::ObjectStore& store,
                               std::string_view key,
                               at::Device device) {
  const TensorFile file = ATOLL_TRY(read_safetensors(store, key));
  const std::string name = fmt::format("{}/{}", store.uri(), key);
  const auto config_text = file.metadata.find(kModelKey);
  const auto categories_text = file.metadata.find(kCategoriesKey);
  if (config_text == file.metadata.end() || categories_text == file.metadata.end()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: no model description in the file's metadata", name),
                "use a model.safetensors that a training run wrote; to start a training from "
                "other weights, name them there");
  }
  const auto config = ATOLL_TRY_CONTEXT(model_config_from_json(config_text->second), name);
  LoadedModel loaded;
  loaded.categories = ATOLL_TRY_CONTEXT(categories_from_json(categories_text->second), name);
  if (static_cast<int64_t>(loaded.categories.ids.size()) + 1 != config.num_classes) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} categories for {} classes with the background",
                            name,
                            loaded.categories.ids.size(),
                            config.num_classes));
  }
  loaded.model = std::make_unique<MaskRcnn>(config, device, std::nullopt);
  ATOLL_TRY_CONTEXT(loaded.model->load_state(file.tensors), name);
  return loaded;
}

}  // namespace atl::model
