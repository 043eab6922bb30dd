// From a sample's files to its pixels in the batch. Private to this room: what the loader's threads
// do.
#pragma once

#include <string>
#include <vector>

#include "dataset/loader.h"
#include "dataset/resize.h"

namespace atl::dataset {

// One for each thread, because it keeps its buffers. The dataset, the store and the tracer (may be
// null) must outlive it.
class SampleReader {
 public:
  // The picture that could not be read may be one that was to be pasted.
  struct Failure {
    int64_t image_index = 0;
    Error error;
  };

  SampleReader(const CocoDataset& dataset,
               storage::ObjectStore& store,
               const std::string& image_prefix,
               const LoaderOptions& options,
               trace::Tracer* tracer);

  // Reads, decodes, resizes, flips and normalises into the plane, lays the sample's pastes over it,
  // and zeroes the plane's padding. After a failure the plane's contents are unspecified.
  tl::expected<void, Failure> read(const Sample& sample, int64_t step, const PixelPlane& plane);

 private:
  // Into picture_, as much as is needed for `output`.
  Result<void> decode(int64_t image_index, const Resizer::Output& output, int64_t step);
  Result<void> lay_over(const Paste& paste,
                        ImageSize window,
                        int64_t step,
                        const PixelPlane& plane);

  const CocoDataset& dataset_;
  storage::ObjectStore& store_;
  const std::string& image_prefix_;
  const bool shrink_;
  std::array<float, 3> scale_ = {};
  std::array<float, 3> offset_ = {};
  trace::Tracer* tracer_;
  PicturePart picture_;
  Resizer resizer_;
  std::vector<std::byte> pasted_;  // the part of a pasted picture that its mask needs
};

}  // namespace atl::dataset
