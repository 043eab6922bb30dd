#include "train/detection_records.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "dataset/picture.h"
#include "ops/ops.h"

namespace atl::train {
namespace {

constexpr int kSizeDivisor_px = 32;
// A label is about 100 px wide and 10 high; below this side it hides what it names.
constexpr int kReadableSide_px = 400;

int rounded_up(int side) {
  return (side + kSizeDivisor_px - 1) / kSizeDivisor_px * kSizeDivisor_px;
}

// (1, 3, H, W) f32 normalised, channels-last, zero padding.
at::Tensor pixels_of(const dataset::Picture& picture,
                     dataset::ImageSize resized,
                     const model::ModelConfig& config) {
  std::vector<uint8_t> rgb(static_cast<size_t>(resized.width) * resized.height * 3);
  dataset::resize_bilinear(picture, resized, rgb);
  const int height = rounded_up(resized.height);
  const int width = rounded_up(resized.width);
  const at::Tensor pixels = at::zeros({1, height, width, 3}, at::kFloat);
  float* row = pixels.data_ptr<float>();
  const uint8_t* source = rgb.data();
  for (int y = 0; y < resized.height; ++y, row += static_cast<ptrdiff_t>(width) * 3) {
    for (int i = 0; i < resized.width * 3; ++i) {
      const int channel = i % 3;
      row[i] = (static_cast<float>(*source++) / 255.0F - config.image_mean[channel]) /
               config.image_std[channel];
    }
  }
  return pixels.permute({0, 3, 1, 2});
}

}  // namespace

std::vector<eval::Detection> to_records(model::Detections detections,
                                        int64_t image_id,
                                        model::ImageBatch::Size resized,
                                        model::ImageBatch::Size original,
                                        const model::CategoryMap& categories) {
  model::rescale(detections, resized, original);
  auto masks =
      ops::paste_masks(detections.masks, detections.boxes, original.height, original.width);
  const at::Tensor boxes = detections.boxes.to(at::kCPU).contiguous();
  const at::Tensor scores = detections.scores.to(at::kCPU).contiguous();
  const at::Tensor labels = detections.labels.to(at::kCPU).contiguous();
  const auto* box = boxes.const_data_ptr<float>();
  std::vector<eval::Detection> records(masks.size());
  for (size_t i = 0; i < records.size(); ++i, box += 4) {
    auto& record = records[i];
    record.image_id = image_id;
    record.category_id =
        categories.ids.at(static_cast<size_t>(labels.const_data_ptr<int64_t>()[i] - 1));
    record.score = scores.const_data_ptr<float>()[i];
    record.box = {box[0], box[1], box[2] - box[0], box[3] - box[1]};
    record.area = record.box[2] * record.box[3];
    record.mask = {static_cast<uint32_t>(original.height),
                   static_cast<uint32_t>(original.width),
                   std::move(masks[i].counts)};
  }
  return records;
}

std::vector<eval::Detection> detect_picture(model::MaskRcnn& model,
                                            const model::CategoryMap& categories,
                                            const dataset::Picture& picture,
                                            int64_t image_id) {
  const auto& config = model.config();
  const auto resized = dataset::resized_size(
      {picture.width, picture.height}, config.min_size_px, config.max_size_px);
  const model::ImageBatch::Size size{resized.height, resized.width};
  model::ImageBatch batch;
  batch.pixels = pixels_of(picture, resized, config).to(model.device());
  batch.sizes = {size};
  batch.image_ids = {image_id};
  auto detections = model.detect(batch);
  return to_records(
      std::move(detections.front()), image_id, size, {picture.height, picture.width}, categories);
}

dataset::Picture draw_records(const dataset::Picture& picture,
                              std::span<const eval::Detection> records,
                              const model::CategoryMap& categories,
                              double threshold) {
  const int zoom = std::max(1, kReadableSide_px / std::max(picture.width, picture.height));
  dataset::Picture canvas{picture.width * zoom, picture.height * zoom, {}};
  canvas.rgb.resize(picture.rgb.size() * static_cast<size_t>(zoom * zoom));
  dataset::resize_bilinear(picture, {canvas.width, canvas.height}, canvas.rgb);
  std::vector<dataset::Overlay> overlays;
  for (const auto& record : records) {
    if (record.score < threshold) continue;
    const auto found = std::ranges::find(categories.ids, record.category_id);
    const auto index = static_cast<size_t>(found - categories.ids.begin());
    auto box = record.box;
    for (double& side : box) side *= zoom;
    overlays.push_back({dataset::rle_resize(record.mask,
                                            static_cast<uint32_t>(canvas.height),
                                            static_cast<uint32_t>(canvas.width)),
                        box,
                        fmt::format("{} {:.2f}", categories.names.at(index), record.score),
                        static_cast<int>(index)});
  }
  std::ranges::reverse(overlays);
  dataset::draw_overlays(canvas, overlays);
  return canvas;
}

}  // namespace atl::train
