#include "train/initial_weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>

#include "model/safetensors.h"

namespace atl::train {
namespace {

constexpr const char* kCategoriesKey = "atoll.categories";  // of a file's metadata

// The last layers, whose outputs are classes; torchvision's names.
constexpr std::array<const char*, 3> kClassLayers = {"roi_heads.box_predictor.cls_score",
                                                     "roi_heads.box_predictor.bbox_pred",
                                                     "roi_heads.mask_predictor.mask_fcn_logits"};

bool depends_on_classes(const std::string& name) {
  for (const char* layer : kClassLayers) {
    if (name.starts_with(layer)) return true;
  }
  return false;
}

}  // namespace

Result<std::string> load_initial_weights(model::MaskRcnn& model,
                                         const model::CategoryMap& categories,
                                         const std::string& uri) {
  const auto location = ATOLL_TRY(storage::open_location(uri));
  auto file = ATOLL_TRY_CONTEXT(model::read_safetensors(*location.store, location.key), "weights");
  const auto own = model.state();
  bool other_shape = false;
  for (const auto& [name, tensor] : own) {
    const auto found = file.tensors.find(name);
    other_shape |= depends_on_classes(name) && found != file.tensors.end() &&
                   found->second.sizes() != tensor.sizes();
  }
  // The same number of classes may still be other classes; only a file of ours says which.
  bool other_classes = false;
  if (const auto text = file.metadata.find(kCategoriesKey); text != file.metadata.end()) {
    const auto theirs = ATOLL_TRY_CONTEXT(model::categories_from_json(text->second),
                                          fmt::format("weights: {}", uri));
    other_classes = theirs != categories;
  }
  if (other_shape || other_classes) {
    for (const auto& [name, tensor] : own) {
      if (depends_on_classes(name)) file.tensors[name] = tensor.detach().clone();
    }
  }
  ATOLL_TRY_CONTEXT(model.load_state(file.tensors), fmt::format("weights: {}", uri));
  if (other_shape || other_classes) {
    return fmt::format(
        "started from {}, which has other classes: the last layers of the box and "
        "mask heads start anew",
        uri);
  }
  return fmt::format("started from {}", uri);
}

}  // namespace atl::train
