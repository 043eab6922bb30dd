// Mask R-CNN (He et al. 2017) with a ResNet-FPN backbone: the same numbers as torchvision 0.26's
// maskrcnn_resnet50_fpn, under the same state-dict names.
//
// Legend: N images, A anchors of all levels, R sampled or kept boxes (RoIs), G ground truths of an
// image, K classes with the background, M mask size (28), D detections of an image.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/categories.h"
#include "model/model_config.h"
#include "ops/ops.h"
#include "storage/storage.h"

namespace atl::model {

struct ImageBatch {
  // (N, 3, H, W) f32 normalised, zero padding, channels-last for speed. H and W are multiples of
  // 32 (P5's stride; dataset::LoaderOptions::size_divisor): then the pooled levels are exactly 1/4
  // … 1/32 of it. torchvision guesses these factors from the unpadded height and comes to the same,
  // but for batches whose tallest image has at most 22, 33 to 45 or 65 to 67 rows.
  at::Tensor pixels;
  struct Size {
    int64_t height = 0;
    int64_t width = 0;
  };
  std::vector<Size> sizes;         // N, the images inside the padding
  std::vector<int64_t> image_ids;  // N, key of the sampling
};

struct Target {
  at::Tensor boxes;     // (G, 4) f32
  at::Tensor labels;    // (G,) int64, 1..K-1
  ops::MaskRuns masks;  // of the image's size
};

// Key of the random choices of one step (which anchors and boxes count in the losses).
struct SamplingKey {
  uint64_t seed = 0;
  uint64_t step = 0;
};

// For a batch whose images are spread over several processes, each of which has some of them. The default
// is one process with all.
struct Ranks {
  // Adds a tensor up over all of them, in place, to the same bits everywhere; may throw. Called in the
  // forward pass and, by batch norms, in the backward pass, equally often and in the same order by all.
  std::function<void(const at::Tensor&)> sum;
  // The images stand in for none: they go through everything, so that this process does what all do, and
  // count for nothing.
  bool placeholder = false;
};

// Sums that make up the losses are divided by counts over the whole batch, over all ranks where there are
// several: then the ranks' losses add up to the batch's. All five are always there, with gradients (zero
// where nothing matched), also for a batch without objects.
struct Losses {
  at::Tensor rpn_objectness;  // "loss_objectness"
  at::Tensor rpn_box;         // "loss_rpn_box_reg"
  at::Tensor classifier;      // "loss_classifier"
  at::Tensor box;             // "loss_box_reg"
  at::Tensor mask;            // "loss_mask"
  at::Tensor total() const;
  // In a fixed order, under torchvision's names.
  std::vector<std::pair<std::string, at::Tensor>> named() const;
};

struct Detections {
  at::Tensor boxes;   // (D, 4) f32 in pixels of the resized image
  at::Tensor scores;  // (D,) f32, decreasing
  at::Tensor labels;  // (D,) int64
  at::Tensor masks;   // (D, M, M) f32 probabilities over the box
};

struct Parameter {
  std::string name;
  at::Tensor tensor;
  bool trainable = false;
  bool decay = false;  // false for biases and norms
};

class MaskRcnn {
 public:
  // Initialised as torchvision does (kaiming, normal 0.01, …), keyed by (seed, parameter name).
  // Without a seed the weights are zero, for a model that is about to be given others.
  MaskRcnn(const ModelConfig& config, at::Device device, std::optional<uint64_t> seed);
  ~MaskRcnn();
  MaskRcnn(MaskRcnn&&) noexcept;

  const ModelConfig& config() const;
  at::Device device() const;

  // Training mode: batch norms use and update batch statistics, in stages that are not trained,
  // too, as in torchvision; frozen ones never do. Statistics are those of all ranks' images.
  Losses loss(const ImageBatch& images,
              std::span<const Target> targets,
              SamplingKey key,
              const Ranks& ranks = {});
  // No gradients. Boxes and masks at the resized scale; rescale with rescale().
  std::vector<Detections> detect(const ImageBatch& images);

  // Parameters in torchvision's order; tensors are the live ones.
  const std::vector<Parameter>& parameters() const;
  // Parameters and buffers by state-dict name; the live tensors.
  const std::map<std::string, at::Tensor>& state() const;

  // Copies the tensors in. kInvalidInput lists every missing, surplus and wrongly shaped tensor
  // (first ten of each). num_batches_tracked may be missing or surplus.
  Result<void> load_state(const std::map<std::string, at::Tensor>& tensors);

  // The stages one by one, for parity tests and profiling.
  struct Trace;
  Trace forward_stages(const ImageBatch& images);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct MaskRcnn::Trace {
  std::vector<at::Tensor> features;    // P2..P6, (N, C, H_l, W_l)
  std::vector<at::Tensor> objectness;  // (N, anchors a cell, H_l, W_l)
  std::vector<at::Tensor> box_deltas;  // (N, 4 * anchors a cell, H_l, W_l)
  std::vector<at::Tensor> proposals;   // N times (R, 4), inference settings
};

// Boxes to the original image: scaled by original / resized, as torchvision's postprocess.
void rescale(Detections& detections, ImageBatch::Size resized, ImageBatch::Size original);

// Weights with what is needed to use them again.
struct LoadedModel {
  std::unique_ptr<MaskRcnn> model;
  CategoryMap categories;
};
Result<void> save_model(storage::ObjectStore& store,
                        std::string_view key,
                        const MaskRcnn& model,
                        const CategoryMap& categories);
// Config and categories come from the file's metadata ("atoll.model", "atoll.categories", JSON).
Result<LoadedModel> load_model(storage::ObjectStore& store,
                               std::string_view key,
                               at::Device device);

}  // namespace atl::model
