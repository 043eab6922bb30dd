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

#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "model/mask_rcnn.h"
#include "model_inputs.h"
#include "train/optimizer.h"

namespace atl {
namespace {

using bench::Picture;
using bench::read_pictures;
using bench::to_batch;
using bench::value_or_exit;

class Bench {
 public:
  Bench(const std::string& inputs, const std::string& weights, const model::ModelConfig& config)
      : pictures_(read_pictures(inputs)), model_(config, at::kCPU, 0) {
    bench::load_weights(model_, weights);
    for (const auto& picture : pictures_) targets_.push_back(picture.target);
    train::TrainConfig sgd;
    sgd.momentum = 0.9;
    sgd.weight_decay = 1e-4;
    optimizer_ = std::make_unique<train::Optimizer>(sgd, model_.parameters());
  }

  // Both return their result as JSON: the total loss,
  std::string step() {
    const auto batch = to_batch(pictures_, model_.config());
    const at::Tensor total = model_.loss(batch, targets_, {.seed = 0, .step = step_++}).total();
    optimizer_->clear_gradients();
    total.backward();
    optimizer_->step(1e-4);
    return fmt::format("{:.6g}", total.item<double>());
  }

  // and the number of detections with that of all their masks' pixels.
  std::string inference() {
    const auto batch = to_batch(pictures_, model_.config());
    uint64_t area = 0;
    int64_t count = 0;
    const auto found = model_.detect(batch);
    for (size_t i = 0; i < found.size(); ++i) {
      count += found[i].scores.size(0);
      for (const auto& mask : ops::paste_masks(
               found[i].masks, found[i].boxes, batch.sizes[i].height, batch.sizes[i].width)) {
        for (size_t run = 1; run < mask.counts.size(); run += 2) area += mask.counts[run];
      }
    }
    return fmt::format("{{\"detections\": {}, \"mask_pixels\": {}}}", count, area);
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
  const auto config = bench::read_config(options.at("--config"));
  Bench bench(options.at("--inputs"), options.at("--weights"), config);
  const bool training = std::string(argv[1]) == "step";
  std::string command;
  while (std::getline(std::cin, command)) {
    if (command == "memory") {
      std::cout << fmt::format("{{\"peak_bytes\": {}}}", peak_bytes()) << std::endl;
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    const std::string check = training ? bench.step() : bench.inference();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    std::cout << fmt::format("{{\"seconds\": {:.6f}, \"check\": {}}}", elapsed.count(), check)
              << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) { return atl::run(argc, argv); }
