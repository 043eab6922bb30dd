// Atoll's side of the loader benchmark, and the yardstick: libjpeg-turbo's bare decode of the same
// files. Does one pass over the data each time it is told to, so that bench/loader.py can interleave
// it with the peer (bench/loader_peer.py) and all see the same machine.
//
//   loader_bench --annotations FILE.json --images FOLDER
//
// Protocol on stdin / stdout: "load" (one thread, batches of two, to 800/1333, half of them
// mirrored), "decode" -> {"seconds": s, "cpu_seconds": c, "images": n, "check": x}; "dump FLIP FILE"
// writes the pixels, boxes and numbers of objects of every sample; end of input ends it.
#include <fmt/format.h>
#include <sys/resource.h>
#include <turbojpeg.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "dataset/coco.h"
#include "dataset/loader.h"
#include "storage/storage.h"

namespace atl {
namespace {

constexpr size_t kBatch = 2;

double cpu_seconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

[[noreturn]] void stop(const std::string& message) {
  std::cerr << "loader_bench: " << message << "\n";
  std::exit(1);
}

template <typename T>
T value_of(Result<T> result) {
  if (!result) stop(result.error().to_string());
  return std::move(*result);
}

class Bench {
 public:
  Bench(const std::string& annotations, const std::string& images)
      : store_(value_of(storage::open_store(images))) {
    const auto location = value_of(storage::open_location(annotations));
    const auto text = value_of(location.store->get(location.key));
    dataset_ = value_of(dataset::CocoDataset::parse(text.text(), annotations));
    for (const auto& image : dataset_.images()) {
      files_.push_back(value_of(store_->get(image.file_name)));
    }
    handle_ = tjInitDecompress();
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() { tjDestroy(handle_); }

  // A pass over all images, by a loader of its own, so that nothing is left running behind it.
  double load() {
    double check = 0;
    auto loader = make_loader(0.5, kBatch);
    while (auto batch = value_of(loader.next())) {
      for (const auto& sample : batch->samples) {
        check += static_cast<double>(sample.masks.size());
      }
    }
    return check;
  }

  // As little as decoding can be: from memory, into a buffer used again, by a handle used again.
  double decode() {
    double check = 0;
    for (const auto& file : files_) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(file.bytes().data());
      int width = 0;
      int height = 0;
      int subsampling = 0;
      int colours = 0;
      tjDecompressHeader3(handle_, bytes, file.size(), &width, &height, &subsampling, &colours);
      rgb_.resize(
          std::max(rgb_.size(), static_cast<size_t>(width) * static_cast<size_t>(height) * 3));
      if (tjDecompress2(handle_, bytes, file.size(), rgb_.data(), width, 0, height, TJPF_RGB, 0) !=
          0) {
        stop(tjGetErrorStr2(handle_));
      }
      check += width * height;
    }
    return check;
  }

  // For each image: its height and width, the number of objects, their boxes, its pixels; float32.
  void dump(bool flip, const std::string& path) {
    std::ofstream out(path, std::ios::binary);
    const auto write = [&](std::span<const float> values) {
      const auto bytes = std::as_bytes(values);
      out.write(reinterpret_cast<const char*>(bytes.data()),
                static_cast<std::streamsize>(bytes.size()));
    };
    auto loader = make_loader(flip ? 1 : 0, 1);
    for (size_t i = 0; i < files_.size(); ++i) {
      const auto batch = value_of(loader.next());
      const auto& sample = batch->samples.at(0);
      const std::array<float, 3> head = {static_cast<float>(sample.resized.height),
                                         static_cast<float>(sample.resized.width),
                                         static_cast<float>(sample.labels.size())};
      write(head);
      write(sample.boxes);
      for (int y = 0; y < sample.resized.height; ++y) {
        write(batch->pixels.floats().subspan(
            static_cast<size_t>(y) * static_cast<size_t>(batch->width) * 3,
            static_cast<size_t>(sample.resized.width) * 3));
      }
    }
    out.close();
    if (!out) stop("writing " + path);
  }

 private:
  dataset::Loader make_loader(double flip_probability, size_t batch) {
    dataset::LoaderOptions options;
    options.pixel_memory = [this](size_t bytes) { return kept_memory(bytes); };
    options.flip_probability = flip_probability;
    options.threads = 1;
    const auto count = static_cast<int64_t>(files_.size());
    const auto plan = [count, batch](int64_t step) -> std::optional<std::vector<int64_t>> {
      std::vector<int64_t> images;
      const auto size = static_cast<int64_t>(batch);
      for (int64_t i = step * size; i < std::min((step + 1) * size, count); ++i) {
        images.push_back(i);
      }
      if (images.empty()) return std::nullopt;
      return images;
    };
    return {dataset_, *store_, "", options, plan, [](int64_t step) { return step; }};
  }

  // Outlives the loaders, so that a pass finds the memory of the one before, as a step of a long
  // training does.
  std::shared_ptr<std::byte> kept_memory(size_t bytes) {
    for (const auto& [memory, size] : memory_) {
      if (memory.use_count() == 1 && size >= bytes) return memory;
    }
    memory_.emplace_back(dataset::ordinary_pixel_memory(bytes), bytes);
    return memory_.back().first;
  }

  std::vector<std::pair<std::shared_ptr<std::byte>, size_t>> memory_;
  std::unique_ptr<storage::ObjectStore> store_;
  dataset::CocoDataset dataset_;
  std::vector<storage::Blob> files_;
  std::vector<unsigned char> rgb_;
  tjhandle handle_ = nullptr;
};

int run(Bench& bench) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    const double cpu_before = cpu_seconds();
    const auto begin = std::chrono::steady_clock::now();
    double check = 0;
    if (command == "load") {
      check = bench.load();
    } else if (command == "decode") {
      check = bench.decode();
    } else if (command == "dump") {
      bool flip = false;
      std::string path;
      words >> flip >> path;
      bench.dump(flip, path);
    } else {
      stop("load, decode or dump FLIP FILE, not '" + line + "'");
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::cout << fmt::format(R"({{"seconds": {}, "cpu_seconds": {}, "check": {}}})",
                             seconds.count(),
                             cpu_seconds() - cpu_before,
                             check)
              << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() != 4 || arguments[0] != "--annotations" || arguments[2] != "--images") {
    std::cerr << "usage: loader_bench --annotations FILE.json --images FOLDER\n";
    return 2;
  }
  atl::Bench bench(arguments[1], arguments[3]);
  return atl::run(bench);
}
