#include "model/mask_rcnn.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "model/safetensors.h"
#include "storage/fake_store.h"

namespace atl::model {
namespace {

using testing::HasSubstr;

ModelConfig small(Norm norm = Norm::kBatchNorm) {
  ModelConfig config = *preset("tiny");
  config.norm = norm;
  config.num_classes = 4;
  config.stem_width = 4;
  config.fpn_channels = 8;
  config.box_head_channels = 16;
  config.mask_conv_channels = {8};
  config.mask_deconv_channels = 8;
  return config;
}

ImageBatch small_images() {
  ImageBatch images;
  images.pixels = at::linspace(-2, 2, 2 * 3 * 64 * 96).view({2, 3, 64, 96}).sin();
  images.sizes = {{64, 96}, {50, 64}};
  images.image_ids = {7, 8};
  return images;
}

Target no_objects(int64_t height, int64_t width) {
  return {at::zeros({0, 4}),
          at::zeros({0}, at::kLong),
          {at::zeros({0}, at::kInt), at::zeros({1}, at::kLong), height, width}};
}

// One box filled with its mask, x 16 to 48, y 8 to 40, in an image of 64 rows.
Target one_object(int64_t width) {
  std::vector<int32_t> counts = {16 * 64 + 8, 32};
  for (int column = 1; column < 32; ++column) counts.insert(counts.end(), {32, 32});
  counts.push_back(static_cast<int32_t>(64 * width) - 16 * 64 - 32 * 64 + 24);
  const auto total = static_cast<int64_t>(counts.size());
  return {at::tensor({16.0F, 8.0F, 48.0F, 40.0F}).view({1, 4}),
          at::ones({1}, at::kLong),
          {at::tensor(counts, at::kInt), at::tensor({int64_t{0}, total}, at::kLong), 64, width}};
}

TEST(MaskRcnn, an_image_without_any_proposal_has_no_detections) {
  ModelConfig config = small();
  config.rpn_min_size_px = 1e6;  // larger than every image
  MaskRcnn model(config, at::kCPU, 1);
  const auto detections = model.detect(small_images());
  ASSERT_EQ(detections.size(), 2U);
  for (const auto& found : detections) {
    EXPECT_EQ(found.boxes.sizes(), at::IntArrayRef({0, 4}));
    EXPECT_EQ(found.masks.size(0), 0);
  }
}

TEST(MaskRcnn, names_and_shapes_are_those_of_torchvision) {
  std::ifstream file(ATOLL_SOURCE_DIR "/src/model/testdata/r50_fpn_state.txt");
  ASSERT_TRUE(file);
  std::map<std::string, std::vector<int64_t>> wanted;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string name;
    words >> name;
    auto& shape = wanted[name];
    for (int64_t size = 0; words >> size;) shape.push_back(size);
  }
  ASSERT_EQ(wanted.size(), 360U);
  ModelConfig config = *preset("r50_fpn");
  config.norm = Norm::kBatchNorm;
  const MaskRcnn model(config, at::kCPU, std::nullopt);
  std::map<std::string, std::vector<int64_t>> ours;
  for (const auto& [name, tensor] : model.state()) ours[name] = tensor.sizes().vec();
  EXPECT_EQ(ours, wanted);
}

TEST(MaskRcnn, only_what_torchvision_trains_is_trainable) {
  const MaskRcnn model(*preset("r50_fpn"), at::kCPU, std::nullopt);
  for (const Parameter& p : model.parameters()) {
    const bool frozen =
        p.name.starts_with("backbone.body.conv1") || p.name.starts_with("backbone.body.layer1");
    EXPECT_EQ(p.trainable, !frozen) << p.name;
    EXPECT_EQ(p.tensor.requires_grad(), !frozen) << p.name;
    EXPECT_EQ(p.decay, p.name.ends_with(".weight")) << p.name;
    EXPECT_EQ(p.name.find(".bn"), std::string::npos) << p.name;
  }
}

TEST(MaskRcnn, the_seed_decides_the_weights) {
  const MaskRcnn first(small(), at::kCPU, 1);
  const MaskRcnn again(small(), at::kCPU, 1);
  const MaskRcnn other(small(), at::kCPU, 2);
  const std::string name = "backbone.body.conv1.weight";
  EXPECT_TRUE(first.state().at(name).equal(again.state().at(name)));
  EXPECT_FALSE(first.state().at(name).equal(other.state().at(name)));
  const double wanted = std::sqrt(2.0 / (4 * 49));
  EXPECT_NEAR(first.state().at(name).std().item<double>(), wanted, 0.1 * wanted);
}

TEST(MaskRcnn, a_batch_without_objects_has_every_loss_and_gradient) {
  for (const Norm norm : {Norm::kBatchNorm, Norm::kFrozenBatchNorm}) {
    MaskRcnn model(small(norm), at::kCPU, 3);
    const std::vector<Target> targets = {no_objects(64, 96), no_objects(50, 64)};
    const Losses losses = model.loss(small_images(), targets, {1, 2});
    ASSERT_EQ(losses.named().size(), 5U);
    EXPECT_EQ(losses.mask.item<float>(), 0);
    EXPECT_EQ(losses.box.item<float>(), 0);
    EXPECT_EQ(losses.rpn_box.item<float>(), 0);
    EXPECT_GT(losses.classifier.item<float>(), 0);
    EXPECT_GT(losses.rpn_objectness.item<float>(), 0);
    losses.total().backward();
    for (const Parameter& p : model.parameters()) {
      ASSERT_TRUE(p.tensor.grad().defined()) << p.name;
      EXPECT_TRUE(p.tensor.grad().isfinite().all().item<bool>()) << p.name;
    }
  }
}

TEST(MaskRcnn, the_same_step_gives_the_same_bits) {
  std::vector<std::map<std::string, at::Tensor>> gradients(2);
  for (auto& found : gradients) {
    MaskRcnn model(small(), at::kCPU, 3);
    const std::vector<Target> targets = {one_object(96), no_objects(50, 64)};
    model.loss(small_images(), targets, {1, 2}).total().backward();
    for (const Parameter& p : model.parameters()) found[p.name] = p.tensor.grad();
  }
  for (const auto& [name, gradient] : gradients[0]) {
    EXPECT_TRUE(gradient.equal(gradients[1].at(name))) << name;
  }
}

TEST(MaskRcnn, another_step_draws_other_samples) {
  MaskRcnn model(small(Norm::kFrozenBatchNorm), at::kCPU, 3);
  const std::vector<Target> targets = {one_object(96), no_objects(50, 64)};
  const auto loss = [&](uint64_t step) {
    return model.loss(small_images(), targets, {1, step}).rpn_objectness.item<float>();
  };
  EXPECT_EQ(loss(2), loss(2));
  EXPECT_NE(loss(2), loss(3));
}

TEST(MaskRcnn, a_saved_model_comes_back_with_its_categories) {
  storage::FakeStore store;
  const MaskRcnn model(small(), at::kCPU, 4);
  const CategoryMap categories{{0, 5, 90}, {"cat", "dog \"x\"", "é"}};
  ASSERT_TRUE(save_model(store, "m.safetensors", model, categories));
  const auto loaded = load_model(store, "m.safetensors", at::kCPU);
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->categories, categories);
  EXPECT_EQ(loaded->model->config(), model.config());
  for (const auto& [name, tensor] : model.state()) {
    EXPECT_TRUE(tensor.equal(loaded->model->state().at(name))) << name;
  }
}

TEST(MaskRcnn, weights_of_another_network_are_refused_by_name) {
  MaskRcnn model(small(), at::kCPU, 4);
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, tensor] : model.state()) weights[name] = tensor.detach().clone();
  weights.erase("backbone.body.bn1.num_batches_tracked");
  weights["some.other.num_batches_tracked"] = at::zeros({}, at::kLong);
  EXPECT_TRUE(model.load_state(weights));
  weights.erase("rpn.head.cls_logits.bias");
  weights["head.extra"] = at::zeros({1});
  weights["roi_heads.box_head.fc7.bias"] = at::zeros({3});
  const auto result = model.load_state(weights);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidInput);
  const std::string text = result.error().to_string();
  EXPECT_THAT(text, HasSubstr("1 missing: rpn.head.cls_logits.bias"));
  EXPECT_THAT(text, HasSubstr("1 unknown: head.extra"));
  EXPECT_THAT(text, HasSubstr("roi_heads.box_head.fc7.bias is [3], not [16]"));
}

TEST(MaskRcnn, boxes_are_scaled_back_to_the_original_image) {
  Detections found{at::tensor({10.0F, 20.0F, 30.0F, 40.0F}).view({1, 4}), {}, {}, {}};
  rescale(found, {100, 200}, {50, 600});
  EXPECT_TRUE(found.boxes.equal(at::tensor({30.0F, 10.0F, 90.0F, 20.0F}).view({1, 4})));
}

}  // namespace
}  // namespace atl::model
