// Writes what every stage of the model gives for the pictures of a file, so that
// reference/compare_r50.py can hold it against torchvision's at full size.
//
//   model_stages all|gradients --inputs F.safetensors --weights W.safetensors --config C.json
//                --threads N --step N --out O.safetensors
//
// Under the names of reference/mask_rcnn_goldens.py: feature.L, objectness.L, deltas.L, proposals.I,
// found.I.{boxes, scores, labels, masks} in evaluation mode (`all` only); and of a training step
// whose choices are keyed by seed 0 and --step: losses (5,), gradient.PARAMETER of their total.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "model/mask_rcnn.h"
#include "model/safetensors.h"
#include "model_inputs.h"

namespace atl {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

void add_evaluation(model::MaskRcnn& model, const model::ImageBatch& batch, Tensors& out) {
  const auto trace = model.forward_stages(batch);
  const auto add = [&](const char* name, const std::vector<at::Tensor>& tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) out[fmt::format("{}.{}", name, i)] = tensors[i];
  };
  add("feature", trace.features);
  add("objectness", trace.objectness);
  add("deltas", trace.box_deltas);
  add("proposals", trace.proposals);
  const auto detections = model.detect(batch);
  for (size_t i = 0; i < detections.size(); ++i) {
    const auto found = [&](const char* name) -> at::Tensor& {
      return out[fmt::format("found.{}.{}", i, name)];
    };
    found("boxes") = detections[i].boxes;
    found("scores") = detections[i].scores;
    found("labels") = detections[i].labels;
    found("masks") = detections[i].masks;
  }
}

void add_training(model::MaskRcnn& model,
                  const std::vector<bench::Picture>& pictures,
                  const model::ImageBatch& batch,
                  uint64_t step,
                  Tensors& out) {
  std::vector<model::Target> targets;
  targets.reserve(pictures.size());
  for (const auto& picture : pictures) targets.push_back(picture.target);
  const auto losses = model.loss(batch, targets, {.seed = 0, .step = step});
  losses.total().backward();
  std::vector<at::Tensor> values;
  for (const auto& [name, loss] : losses.named()) values.push_back(loss.detach());
  out["losses"] = at::stack(values);
  for (const auto& parameter : model.parameters()) {
    if (parameter.trainable) out["gradient." + parameter.name] = parameter.tensor.grad();
  }
}

int run(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 2; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  at::set_num_threads(std::stoi(options.at("--threads")));
  const auto config = bench::read_config(options.at("--config"));
  const auto pictures = bench::read_pictures(options.at("--inputs"));
  model::MaskRcnn model(config, at::kCPU, std::nullopt);
  bench::load_weights(model, options.at("--weights"));
  const auto batch = bench::to_batch(pictures, config);
  Tensors out;
  if (std::string(argv[1]) == "all") add_evaluation(model, batch, out);
  add_training(model, pictures, batch, std::stoull(options.at("--step")), out);
  const auto location = bench::value_or_exit(storage::open_location(options.at("--out")));
  const auto written = model::write_safetensors(*location.store, location.key, out, {});
  if (!written) {
    std::cerr << written.error().to_string() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) { return atl::run(argc, argv); }
