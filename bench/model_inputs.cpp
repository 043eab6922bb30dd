#include "model_inputs.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "dataset/rle.h"
#include "model/safetensors.h"

namespace atl::bench {
namespace {

model::TensorFile read_tensors(const std::string& path) {
  auto location = value_or_exit(storage::open_location(path));
  return value_or_exit(model::read_safetensors(*location.store, location.key));
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

}  // namespace

model::ModelConfig read_config(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return value_or_exit(model::model_config_from_json(text.str()));
}

void load_weights(model::MaskRcnn& model, const std::string& path) {
  const auto loaded = model.load_state(read_tensors(path).tensors);
  if (!loaded) {
    std::cerr << path << ": " << loaded.error().to_string() << "\n";
    std::exit(1);
  }
}

std::vector<Picture> read_pictures(const std::string& path) {
  const auto file = read_tensors(path);
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

}  // namespace atl::bench
