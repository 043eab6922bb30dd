// One image of a batch, from the file to normalised pixels and targets. Private to this room: what
// the loader's threads do.
#pragma once

#include <span>

#include "dataset/loader.h"
#include "dataset/resize.h"

namespace atl::dataset {

// Everything of a sample that is known before its file is read.
Sample plan_sample(const CocoDataset& dataset,
                   int64_t image_index,
                   int64_t epoch,
                   const LoaderOptions& options);

// Boxes, labels and masks, scaled and flipped as the sample is.
void add_targets(const CocoDataset& dataset, Sample& sample);

// Turns files into planes of a batch; one for each thread, because it keeps its buffers.
class SampleReader {
 public:
  // The plane of one image in the padded batch.
  struct Plane {
    int height = 0;
    int width = 0;
    std::span<float> pixels;  // (height, width, 3)
  };

  SampleReader(const LoaderOptions& options, trace::Tracer* tracer);

  // Decodes, resizes, flips and normalises into the plane, and zeroes its padding.
  Result<void> read(std::span<const std::byte> file,
                    const Sample& sample,
                    int64_t step,
                    const Plane& plane);

 private:
  std::array<float, 3> scale_ = {};
  std::array<float, 3> offset_ = {};
  trace::Tracer* tracer_;
  Picture picture_;
  Resizer resizer_;
};

}  // namespace atl::dataset
