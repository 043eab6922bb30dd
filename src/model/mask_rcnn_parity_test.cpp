// Our numbers against torchvision's on small randomly weighted networks: the goldens of
// reference/mask_rcnn_goldens.py, which describes the names in the files.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/keyed_random.h"
#include "model/mask_rcnn.h"
#include "model/parameters.h"
#include "model/safetensors.h"

namespace atl::model {
namespace {

constexpr double kMomentum = 0.9;

// The golden's own networks: which weights are scaled to leave something to find.
double scale_of(const std::string& name) {
  if (name == "rpn.head.bbox_pred.weight") return 0.1;
  if (name == "roi_heads.box_predictor.bbox_pred.weight") return 0.5;
  if (name == "roi_heads.box_predictor.cls_score.weight") return 3.0;
  return 1.0;
}

at::Tensor uniform_values(std::initializer_list<uint64_t> key,
                          at::IntArrayRef shape,
                          double low,
                          double high) {
  at::Tensor values = at::empty(shape, at::kDouble);
  KeyedRandom random(key);
  auto* const data = values.mutable_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = random.uniform(low, high);
  return values;
}

at::Tensor keyed_weight(uint64_t seed, const std::string& name, const at::Tensor& tensor) {
  double low = -0.1;
  double high = 0.1;
  if (name.ends_with("running_var")) {
    low = 0.5;
    high = 1.5;
  } else if (name.ends_with(".weight") && tensor.dim() == 1) {
    low = 0.5;
    high = 1.0;
  } else if (tensor.dim() > 1) {
    const auto fan_in = static_cast<double>(tensor.numel() / tensor.size(0));
    high = std::sqrt(6.0 / fan_in) * scale_of(name);
    low = -high;
  }
  return uniform_values({seed, hash_name(name)}, tensor.sizes(), low, high).to(at::kFloat);
}

// A golden: the pictures, and the network whose results it holds.
class MaskRcnnGolden : public testing::Test {
 protected:
  static TensorFile read_golden(const std::string& name) {
    auto location = storage::open_location(
        fmt::format("{}/reference/goldens/mask_rcnn_{}.safetensors", ATOLL_SOURCE_DIR, name));
    auto file = location ? read_safetensors(*location->store, location->key)
                         : Result<TensorFile>(tl::unexpected(location.error()));
    if (!file) {
      ADD_FAILURE() << file.error().to_string();
      return {};
    }
    return std::move(*file);
  }

  // Reads the golden `name`, and the pictures from `pictures`.
  void open(const std::string& name, const std::string& pictures) {
    golden_ = read_golden(pictures);
    read_inputs();
    golden_ = read_golden(name);
    seed_ = std::stoull(golden_.metadata.at("seed"));
    model_ = make_model("config");
    ASSERT_TRUE(model_);
  }

  std::unique_ptr<MaskRcnn> make_model(const char* config_key) const {
    const auto config = model_config_from_json(golden_.metadata.at(config_key));
    if (!config) {
      ADD_FAILURE() << config.error().to_string();
      return nullptr;
    }
    auto model = std::make_unique<MaskRcnn>(*config, at::kCPU, std::nullopt);
    std::map<std::string, at::Tensor> weights;
    for (const auto& [name, tensor] : model->state()) {
      if (name.ends_with("num_batches_tracked")) continue;
      weights[name] = keyed_weight(seed_, name, tensor);
    }
    const auto loaded = model->load_state(weights);
    EXPECT_TRUE(loaded) << loaded.error().to_string();
    return model;
  }

  static void expect_losses(const Losses& losses, const at::Tensor& wanted, double tolerance) {
    int64_t column = 0;
    for (const auto& [name, loss] : losses.named()) {
      const double value = wanted[column++].item<double>();
      EXPECT_NEAR(loss.item<double>(), value, tolerance * value) << name;
    }
  }

  const at::Tensor& golden(const std::string& name) const { return golden_.tensors.at(name); }

  void read_inputs() {
    images_.pixels =
        ((golden("pixels").to(at::kFloat) - 128) / 64).contiguous(at::MemoryFormat::ChannelsLast);
    for (int64_t i = 0; i < golden("sizes").size(0); ++i) {
      images_.sizes.push_back(
          {golden("sizes")[i][0].item<int64_t>(), golden("sizes")[i][1].item<int64_t>()});
      const auto part = [&](const char* name) {
        return golden(fmt::format("target.{}.{}", i, name)).clone();
      };
      const auto& size = images_.sizes.back();
      targets_.push_back({part("boxes"),
                          part("labels"),
                          {part("counts"), part("offsets"), size.height, size.width}});
    }
    images_.image_ids = {0, 4711};
  }

  void train_step(std::map<std::string, at::Tensor>& velocity) {
    const at::NoGradGuard no_grad;
    const double rate = std::stod(golden_.metadata.at("rate"));
    for (const Parameter& parameter : model_->parameters()) {
      if (!parameter.trainable) continue;
      auto& v = velocity[parameter.name];
      at::Tensor gradient = parameter.tensor.grad();
      v = v.defined() ? v * kMomentum + gradient : gradient.clone();
      parameter.tensor.add_(v, -rate);
      gradient.zero_();
    }
  }

  TensorFile golden_;
  uint64_t seed_ = 0;
  std::unique_ptr<MaskRcnn> model_;
  ImageBatch images_;
  std::vector<Target> targets_;
};

// Largest difference relative to the largest value.
double relative_error(const at::Tensor& ours, const at::Tensor& theirs) {
  return ((ours - theirs).abs().max() / theirs.abs().max()).item<double>();
}

class MaskRcnnParity : public MaskRcnnGolden, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { open(GetParam(), GetParam()); }
};

TEST_P(MaskRcnnParity, features_and_rpn_outputs_agree) {
  const auto trace = model_->forward_stages(images_);
  ASSERT_EQ(trace.features.size(), 5U);
  for (size_t l = 0; l < 5; ++l) {
    EXPECT_LE(relative_error(trace.features[l], golden(fmt::format("feature.{}", l))), 1e-4) << l;
    EXPECT_LE(relative_error(trace.objectness[l], golden(fmt::format("objectness.{}", l))), 1e-4)
        << l;
    EXPECT_LE(relative_error(trace.box_deltas[l], golden(fmt::format("deltas.{}", l))), 1e-4) << l;
  }
}

TEST_P(MaskRcnnParity, proposals_are_the_same_in_the_same_order) {
  const auto trace = model_->forward_stages(images_);
  for (size_t i = 0; i < images_.sizes.size(); ++i) {
    const at::Tensor& theirs = golden(fmt::format("proposals.{}", i));
    ASSERT_GT(theirs.size(0), 20);
    ASSERT_EQ(trace.proposals[i].sizes(), theirs.sizes()) << i;
    EXPECT_LE((trace.proposals[i] - theirs).abs().max().item<double>(), 0.01) << i;
  }
}

std::vector<bool> bitmap(const ops::PastedMask& mask) {
  std::vector<bool> pixels;
  bool value = false;
  for (const uint32_t count : mask.counts) {
    pixels.insert(pixels.end(), count, value);
    value = !value;
  }
  return pixels;
}

double mask_iou(const ops::PastedMask& a, const ops::PastedMask& b) {
  const auto first = bitmap(a);
  const auto second = bitmap(b);
  EXPECT_EQ(first.size(), second.size());
  double both = 0;
  double either = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    both += first[i] && second[i] ? 1 : 0;
    either += first[i] || second[i] ? 1 : 0;
  }
  return either == 0 ? 1 : both / either;
}

TEST_P(MaskRcnnParity, detections_are_the_same_in_the_same_order) {
  const auto detections = model_->detect(images_);
  ASSERT_EQ(detections.size(), images_.sizes.size());
  int64_t total = 0;
  for (size_t i = 0; i < detections.size(); ++i) {
    const auto theirs = [&](const char* name) {
      return golden(fmt::format("found.{}.{}", i, name));
    };
    const Detections& ours = detections[i];
    ASSERT_EQ(ours.boxes.sizes(), theirs("boxes").sizes());
    total += ours.boxes.size(0);
    if (ours.boxes.size(0) == 0) continue;
    EXPECT_TRUE(ours.labels.equal(theirs("labels")));
    EXPECT_LE((ours.boxes - theirs("boxes")).abs().max().item<double>(), 0.01);
    EXPECT_LE((ours.scores - theirs("scores")).abs().max().item<double>(), 1e-4);
    const auto& size = images_.sizes[i];
    const auto a = ops::paste_masks(ours.masks, ours.boxes, size.height, size.width);
    const auto b = ops::paste_masks(theirs("masks"), theirs("boxes"), size.height, size.width);
    for (size_t d = 0; d < a.size(); ++d) EXPECT_GE(mask_iou(a[d], b[d]), 0.999) << i << ' ' << d;
  }
  EXPECT_GE(total, 4) << "a golden without detections shows nothing";
}

TEST_P(MaskRcnnParity, every_loss_and_gradient_agrees) {
  const Losses losses = model_->loss(images_, targets_, {seed_, 0});
  expect_losses(losses, golden("losses")[0], 1e-4);
  losses.total().backward();
  const at::Tensor& theirs = golden("gradients");
  int64_t row = 0;
  for (const Parameter& parameter : model_->parameters()) {
    if (!parameter.trainable) {
      EXPECT_FALSE(parameter.tensor.grad().defined()) << parameter.name;
      continue;
    }
    ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
    ASSERT_LT(row, theirs.size(0));
    const at::Tensor gradient = parameter.tensor.grad().to(at::kDouble);
    const at::Tensor vector =
        uniform_values({seed_, hash_name(parameter.name), 1}, gradient.sizes(), -1, 1);
    const double norm = theirs[row][0].item<double>();
    const double dot = theirs[row][1].item<double>();
    EXPECT_NEAR(gradient.norm().item<double>(), norm, 1e-3 * norm + 1e-12) << parameter.name;
    EXPECT_NEAR((gradient * vector).sum().item<double>(), dot, 1e-3 * norm + 1e-12)
        << parameter.name;
    ++row;
  }
  EXPECT_EQ(row, theirs.size(0));
}

TEST_P(MaskRcnnParity, ten_steps_of_training_follow_the_same_losses) {
  model_ = make_model("curve config");
  ASSERT_TRUE(model_);
  const at::Tensor& theirs = golden("curve");
  ASSERT_EQ(theirs.size(0), 10);
  std::map<std::string, at::Tensor> velocity;
  for (int64_t step = 0; step < theirs.size(0); ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    const Losses losses = model_->loss(images_, targets_, {seed_, static_cast<uint64_t>(step)});
    expect_losses(losses, theirs[step], 1e-3);
    losses.total().backward();
    train_step(velocity);
  }
}

using MaskRcnnSteps = MaskRcnnGolden;

// One row of the golden's `parameters` in the model's order, as views.
std::vector<at::Tensor> split_parameters(const at::Tensor& row,
                                         const std::vector<Parameter>& parameters) {
  std::vector<at::Tensor> parts;
  int64_t first = 0;
  for (const Parameter& parameter : parameters) {
    const int64_t count = parameter.tensor.numel();
    parts.push_back(row.narrow(0, first, count).view(parameter.tensor.sizes()));
    first += count;
  }
  EXPECT_EQ(first, row.size(0));
  return parts;
}

// Training with batch norm at a rate that changes the weights is chaotic: rounding puts an
// activation on the other side of a ReLU, and after ten steps torchvision is 0.67 away from itself.
// So each step starts from torchvision's parameters and velocity. The update of all parameters is
// held to 5e-3, that of a single one to 0.05: on the two threads of the golden they are 4e-5 away
// and not at all beyond the stored sums' rounding; on one thread, which rounds the batch statistics
// in another way, 1.7e-3 and 7e-3.
TEST_F(MaskRcnnSteps, each_of_ten_steps_with_batch_norm_has_torchvisions_losses_and_update) {
  open("steps", "basic");
  const at::Tensor& states = golden("parameters");
  ASSERT_EQ(states.size(0), 11);
  const double rate = std::stod(golden_.metadata.at("rate"));
  for (int64_t step = 0; step < 10; ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    std::map<std::string, at::Tensor> velocity;  // torchvision's, from its last update
    const auto before = split_parameters(states[step], model_->parameters());
    const auto earlier =
        split_parameters(states[std::max<int64_t>(step - 1, 0)], model_->parameters());
    const auto after = split_parameters(states[step + 1], model_->parameters());
    for (size_t i = 0; i < before.size(); ++i) {
      const at::NoGradGuard no_grad;
      ASSERT_TRUE(model_->parameters()[i].trainable);
      const Parameter& parameter = model_->parameters()[i];
      parameter.tensor.copy_(before[i]);
      if (step == 0) continue;
      velocity[parameter.name] = ((earlier[i] - before[i]) / rate).contiguous();
    }
    const Losses losses = model_->loss(images_, targets_, {seed_, static_cast<uint64_t>(step)});
    expect_losses(losses, golden("curve")[step], 1e-3);
    losses.total().backward();
    train_step(velocity);
    double all_updates = 0;
    double all_errors = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      const Parameter& parameter = model_->parameters()[i];
      const double update = (after[i] - before[i]).norm().item<double>();
      const double error = (parameter.tensor.detach() - after[i]).norm().item<double>();
      const double rounding = 1.2e-7 * after[i].norm().item<double>();  // of the stored sums
      EXPECT_LE(error, 0.05 * update + rounding) << parameter.name;
      all_updates += update * update;
      all_errors += error * error;
    }
    EXPECT_GT(std::sqrt(all_updates), 1e-4) << "steps that change nothing show nothing";
    EXPECT_LE(std::sqrt(all_errors), 5e-3 * std::sqrt(all_updates));
  }
}

INSTANTIATE_TEST_SUITE_P(Torchvision,
                         MaskRcnnParity,
                         testing::Values("basic", "bottleneck", "two_convs"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace atl::model
