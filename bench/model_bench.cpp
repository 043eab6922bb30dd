// One side of the step and inference benchmarks: does one unit of work each time it is told to, so
// that bench/compare.py can interleave it with the peer (bench/torchvision_peer.py) and both see the same machine.
//
//   model_bench --print-config PRESET             the model's configuration as JSON
//   model_bench step|inference --inputs F.safetensors --weights W.safetensors --config C.json --threads N
//
// Protocol on stdin / stdout: "run" -> {"seconds": s, "check": x}; "memory" -> {"peak_bytes": n}; end of input ends it.
// The inputs are what a loader starts from, decoded uint8 pictures of the final size; normalising
// and batching them is inside the measured time on both sides.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "dataset/rle.h"
#include "model/mask_rcnn.h"
#include "model/safetensors.h"
#include "train/optimizer.h"

namespace atl {
namespace {

struct Picture {
  at::Tensor rgb;  // (H, W, 3) uint8
  model::Target target;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

template <typename T>
T value_or_exit(Result<T> result) {
  if (!result) {
    std::cerr << result.error().to_string() << "\n";
    std::exit(1);
  }
  return std::move(*result);
}

// (G, H, W) uint8 bitmaps -> runs.
ops::MaskRuns to_runs(const at::Tensor& bitmaps) {
  ops::MaskRuns runs;
  runs.height = bitmaps.size(1);
  runs.width = bitmaps.size(2);
  std::vector<int32_t> counts;
  std::vector<int64_t> offsets = {0};
  for (int64_t g = 0; g < bitmaps.size(0); ++g) {
    const at::Tensor columns = bitmaps[g].t().contiguous();
    const auto rle = dataset::rle_from_bitmap(
        {columns.data_ptr<uint8_t>(), static_cast<size_t>(columns.numel())},
        static_cast<uint32_t>(runs.height),
        static_cast<uint32_t>(runs.width));
    counts.insert(counts.end(), rle.counts.begin(), rle.counts.end());
    offsets.push_back(static_cast<int64_t>(counts.size()));
  }
  runs.counts = at::tensor(counts, at::kInt);
  runs.offsets = at::tensor(offsets, at::kLong);
  return runs;
}

std::vector<Picture> read_pictures(const std::string& path) {
  auto location = value_or_exit(storage::open_location(path));
  const auto file = value_or_exit(model::read_safetensors(*location.store, location.key));
  std::vector<Picture> pictures;
  for (int i = 0; file.tensors.contains(fmt::format("{}.image", i)); ++i) {
    const auto tensor = [&](const char* name) {
      return file.tensors.at(fmt::format("{}.{}", i, name)).clone();
    };
    pictures.push_back(
        {tensor("image"), {tensor("boxes"), tensor("labels"), to_runs(tensor("masks"))}});
  }
  return pictures;
}

model::ImageBatch to_batch(const std::vector<Picture>& pictures, const model::ModelConfig& config) {
  int64_t height = 0;
  int64_t width = 0;
  for (const auto& picture : pictures) {
    height = std::max(height, (picture.rgb.size(0) + 31) / 32 * 32);
    width = std::max(width, (picture.rgb.size(1) + 31) / 32 * 32);
  }
  const auto count = static_cast<int64_t>(pictures.size());
  const at::Tensor mean = at::tensor(at::ArrayRef<float>(config.image_mean)) * 255;
  const at::Tensor scale = 1 / (at::tensor(at::ArrayRef<float>(config.image_std)) * 255);
  model::ImageBatch batch;
  at::Tensor pixels = at::zeros({count, height, width, 3});
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor& rgb = pictures[static_cast<size_t>(i)].rgb;
    pixels[i].slice(0, 0, rgb.size(0)).slice(1, 0, rgb.size(1)).copy_((rgb - mean) * scale);
    batch.sizes.push_back({rgb.size(0), rgb.size(1)});
    batch.image_ids.push_back(i);
  }
  batch.pixels = pixels.permute({0, 3, 1, 2});
  return batch;
}

class Bench {
 public:
  Bench(const std::string& inputs, const std::string& weights, const model::ModelConfig& config)
      : pictures_(read_pictures(inputs)), model_(config, at::kCPU, 0) {
    auto location = value_or_exit(storage::open_location(weights));
    const auto file = value_or_exit(model::read_safetensors(*location.store, location.key));
    const auto loaded = model_.load_state(file.tensors);
    if (!loaded) {
      std::cerr << loaded.error().to_string() << "\n";
      std::exit(1);
    }
    for (const auto& picture : pictures_) targets_.push_back(picture.target);
    train::TrainConfig sgd;
    sgd.momentum = 0.9;
    sgd.weight_decay = 1e-4;
    optimizer_ = std::make_unique<train::Optimizer>(sgd, model_.parameters());
  }

  // Returns the total loss.
  double step() {
    const auto batch = to_batch(pictures_, model_.config());
    const at::Tensor total = model_.loss(batch, targets_, {.seed = 0, .step = step_++}).total();
    optimizer_->clear_gradients();
    total.backward();
    optimizer_->step(1e-4);
    return total.item<double>();
  }

  // Returns the number of pixels of all masks.
  double inference() {
    const auto batch = to_batch(pictures_, model_.config());
    uint64_t area = 0;
    const auto found = model_.detect(batch);
    for (size_t i = 0; i < found.size(); ++i) {
      for (const auto& mask : ops::paste_masks(
               found[i].masks, found[i].boxes, batch.sizes[i].height, batch.sizes[i].width)) {
        for (size_t run = 1; run < mask.counts.size(); run += 2) area += mask.counts[run];
      }
    }
    return static_cast<double>(area);
  }

 private:
  std::vector<Picture> pictures_;
  std::vector<model::Target> targets_;
  model::MaskRcnn model_;
  std::unique_ptr<train::Optimizer> optimizer_;
  uint64_t step_ = 0;
};

uint64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

int run(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--print-config") {
    std::cout << model::to_json(value_or_exit(model::preset(argv[2]))) << "\n";
    return 0;
  }
  std::map<std::string, std::string> options;
  for (int i = 2; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  at::set_num_threads(std::stoi(options.at("--threads")));
  const auto config =
      value_or_exit(model::model_config_from_json(read_file(options.at("--config"))));
  Bench bench(options.at("--inputs"), options.at("--weights"), config);
  const bool training = std::string(argv[1]) == "step";
  std::string command;
  while (std::getline(std::cin, command)) {
    if (command == "memory") {
      std::cout << fmt::format("{{\"peak_bytes\": {}}}", peak_bytes()) << std::endl;
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    const double check = training ? bench.step() : bench.inference();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    std::cout << fmt::format("{{\"seconds\": {:.6f}, \"check\": {:.6g}}}", elapsed.count(), check)
              << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) { return atl::run(argc, argv); }
