// The trainer's data path at a step's pace, for bench/storage.py: batches by the loader in the sampler's order, and 50 ms
// of doing nothing for each, as a step on a GPU would leave the processor alone.
//
//   step_bench [--step-ms N] DATA        DATA: a directory or s3://BUCKET/PREFIX, laid out as COCO is
//
// One line of JSON: seconds of one epoch from the first batch asked for to the last step's end, images, and a checksum of
// the pixels. Opening the data and reading the annotations do not count.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <span>
#include <string>
#include <thread>

#include "dataset/coco.h"
#include "dataset/layout.h"
#include "dataset/loader.h"
#include "dataset/sampler.h"
#include "storage/storage.h"

namespace atl {
namespace {

[[noreturn]] void stop(const std::string& message) {
  std::cerr << "step_bench: " << message << "\n";
  std::_Exit(1);
}

template <typename T>
T value_of(Result<T> result) {
  if (!result) stop(result.error().to_string());
  return std::move(*result);
}

int run(std::span<char* const> words) {
  std::chrono::milliseconds step_time{50};
  if (words.size() == 3 && std::string(words[0]) == "--step-ms") {
    step_time = std::chrono::milliseconds(std::stoi(words[1]));
    words = words.subspan(2);
  }
  if (words.size() != 1) stop("what data? see the head of bench/step_bench.cpp");
  const auto store = value_of(storage::open_store(words[0]));
  const auto split = value_of(dataset::find_split(*store, dataset::Split::kTrain));
  const auto text = value_of(store->get(split.annotations));
  const auto data = value_of(dataset::CocoDataset::parse(text.text(), split.annotations));
  std::vector<dataset::ImageSize> sizes;
  for (const auto& image : data.images()) sizes.push_back({image.width, image.height});
  dataset::Sampler sampler(std::move(sizes), {.seed = 1, .global_batch = 8});

  dataset::LoaderOptions options;
  options.min_size_px = 256;
  options.max_size_px = 512;
  const auto plan = [&](int64_t step) -> std::optional<std::vector<int64_t>> {
    if (step >= sampler.batches_per_epoch()) return std::nullopt;
    return sampler.batch(step);
  };
  const auto begin = std::chrono::steady_clock::now();
  dataset::Loader loader(
      data, *store, split.image_prefix, options, plan, [](int64_t) { return 0; });
  double check = 0;
  int64_t images = 0;
  while (const auto batch = value_of(loader.next())) {
    images += static_cast<int64_t>(batch->samples.size());
    const std::span<const float> pixels = batch->pixels.floats();
    for (size_t i = 0; i < pixels.size(); i += 1009) check += pixels[i];
    std::this_thread::sleep_for(step_time);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::cout << fmt::format("{{\"seconds\":{},\"images\":{},\"check\":{}}}", seconds, images, check)
            << std::endl;
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) { return atl::run({argv + 1, static_cast<size_t>(argc - 1)}); }
