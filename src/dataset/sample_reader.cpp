#include "dataset/sample_reader.h"

#include <cstring>

#include "base/check.h"
#include "dataset/rle_runs.h"

namespace atl::dataset {

SampleReader::SampleReader(const CocoDataset& dataset,
                           storage::ObjectStore& store,
                           const std::string& image_prefix,
                           const LoaderOptions& options,
                           trace::Tracer* tracer)
    : dataset_(dataset),
      store_(store),
      image_prefix_(image_prefix),
      shrink_(options.shrink_in_decoder),
      tracer_(tracer) {
  for (size_t c = 0; c < 3; ++c) {
    scale_[c] = 1.0F / (255.0F * options.standard_deviation[c]);
    offset_[c] = -options.mean[c] / options.standard_deviation[c];
  }
}

tl::expected<void, SampleReader::Failure> SampleReader::read(const Sample& sample,
                                                             int64_t step,
                                                             const PixelPlane& plane) {
  const Resizer::Output output = {.scaled = sample.scaled,
                                  .left = sample.left,
                                  .top = sample.top,
                                  .window = sample.resized,
                                  .flip = sample.flipped,
                                  .scale = scale_,
                                  .offset = offset_,
                                  .colour = sample.colour};
  if (auto decoded = decode(sample.image_index, output, step); !decoded) {
    return tl::unexpected(Failure{sample.image_index, std::move(decoded).error()});
  }
  {
    const trace::Span span(tracer_, "resize", step);
    resizer_.resize(picture_, output, plane);
  }
  for (const Paste& paste : sample.pastes) {
    if (auto laid = lay_over(paste, sample.resized, step, plane); !laid) {
      return tl::unexpected(Failure{paste.image_index, std::move(laid).error()});
    }
  }
  return {};
}

Result<void> SampleReader::decode(int64_t image_index,
                                  const Resizer::Output& output,
                                  int64_t step) {
  const Image& image = dataset_.images()[static_cast<size_t>(image_index)];
  storage::Blob file;
  {
    const trace::Span span(tracer_, "read", step);
    file = ATOLL_TRY(store_.get(image_prefix_ + std::string(image.file_name)));
  }
  const trace::Span span(tracer_, "decode", step);
  const ImageSize size = {image.width, image.height};
  WantedPart wanted;
  for (const int shrink : {2, 4, 8}) {
    const auto [width, height] = shrunk_size(size, shrink);
    if (shrink_ && width >= output.scaled.width && height >= output.scaled.height) {
      wanted.shrink = shrink;
    }
  }
  wanted.part = Resizer::needed_part(size, wanted.shrink, output);
  return decode_image_part(file.bytes(), size, wanted, kMaxPixels, picture_);
}

// Only the mask's bounding box is decoded and resized, and only its runs are copied out of it.
Result<void> SampleReader::lay_over(const Paste& paste,
                                    ImageSize window,
                                    int64_t step,
                                    const PixelPlane& plane) {
  const auto height = static_cast<uint32_t>(window.height);
  ATOLL_CHECK(paste.mask.height == height &&
              paste.mask.width == static_cast<uint32_t>(window.width))
      << paste.mask.width << "x" << paste.mask.height << " over " << window.width << "x"
      << window.height;
  if (rle_area(paste.mask) == 0) return {};
  const auto box = rle_bounding_box(paste.mask);
  const int x = static_cast<int>(box[0]);
  const int y = static_cast<int>(box[1]);
  const ImageSize part = {static_cast<int>(box[2]), static_cast<int>(box[3])};
  const Resizer::Output output = {
      .scaled = paste.scaled,
      .left = paste.left + (paste.flipped ? window.width - x - part.width : x),
      .top = paste.top + y,
      .window = part,
      .flip = paste.flipped,
      .scale = scale_,
      .offset = offset_,
      .colour = paste.colour};
  ATOLL_TRY(decode(paste.image_index, output, step));
  const trace::Span span(tracer_, "paste", step);
  pasted_.resize(static_cast<size_t>(part.width) * static_cast<size_t>(part.height) * 3 *
                 size_of(plane.type));
  const PixelPlane pasted = {plane.type, part.height, part.width, pasted_.data()};
  resizer_.resize(picture_, output, pasted);
  const size_t pixel_bytes = 3 * size_of(plane.type);
  for (internal::ForegroundRuns run(paste.mask); !run.done(); run.next()) {
    for (uint64_t pixel = run.begin(); pixel < run.end(); ++pixel) {
      const uint64_t row = pixel % height;
      const uint64_t column = pixel / height;
      std::memcpy(plane.data + row * plane.row_bytes() + column * pixel_bytes,
                  pasted.data + (row - static_cast<uint64_t>(y)) * pasted.row_bytes() +
                      (column - static_cast<uint64_t>(x)) * pixel_bytes,
                  pixel_bytes);
    }
  }
  return {};
}

}  // namespace atl::dataset
