// Batches for training and evaluation: threads that read, decode, resize, flip and normalise, in
// the order asked for, a bounded number of batches ahead.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataset/augment.h"
#include "dataset/coco.h"
#include "dataset/image.h"
#include "dataset/pixel_buffer.h"
#include "storage/storage.h"
#include "trace/trace.h"

namespace atl::dataset {

struct LoaderOptions {
  int min_size_px = 800;
  int max_size_px = 1333;
  int size_divisor = 32;  // batches are padded to a multiple of this
  bool train = true;      // flip, and give targets; otherwise samples have neither
  double flip_probability = 0.5;
  AugmentOptions augment;  // of training
  uint64_t seed = 0;       // with (epoch, image id) the key of every random choice
  std::array<float, 3> mean = {0.485F, 0.456F, 0.406F};
  std::array<float, 3> standard_deviation = {0.229F, 0.224F, 0.225F};
  int threads = 2;
  int batches_ahead = 4;  // memory is bounded by this many batches
  // So many images beyond those are planned and named to the store (ObjectStore::will_need), whose own
  // bound is in bytes. Of COCO's, 1,024 are 160 MB, and 50 s of a training with 20 images a second.
  int images_planned_ahead = 1024;
  // JPEGs of at least twice the size that they are scaled to are shrunk by their decoder, to no less
  // than that size. Faster, and smoother than the bilinear resize, which skips pixels; without it
  // the pixels are those of torchvision.
  bool shrink_in_decoder = false;
  PixelType pixel_type = PixelType::kFloat32;
  PixelMemory pixel_memory = ordinary_pixel_memory;  // where batches live; for a GPU, pinned
  int64_t max_bad_images = 0;  // different unreadable images tolerated; one more is an error
  std::string bad_limit_name = "data.max_bad_images";  // what that is set by, for the error's hint
  // Of every batch only the rank's share is loaded (share_of_batch, dataset/sampler.h), padded as the whole
  // batch is: what a model sees in an image depends on its padding, and all ranks' steps take as long as the
  // longest. A share may be empty.
  int rank = 0;
  int world_size = 1;
};

// The objects of another picture, laid over a sample's pixels. Only where `mask` is set does
// anything change, and there the pixel is that of the other picture scaled to `scaled`, its window
// of the sample's `resized` size beginning at (left, top), then mirrored if `flipped`. Where that
// window reaches beyond the scaled picture, the mask must be empty.
struct Paste {
  int64_t image_index = 0;
  ImageSize scaled;
  int left = 0;  // may be negative, as may top
  int top = 0;
  bool flipped = false;
  ColourTransform colour;
  std::vector<int32_t> objects;  // which of annotations_of(image_index)
  Rle mask;  // as the masks of the sample: resized.height x resized.width, mirroring done
};

// One image of a batch: the picture scaled to `scaled`, its window of size `resized` beginning at
// (left, top), then mirrored if `flipped`. Without crop, scaled = resized and left = top = 0. G
// ground truths, boxes and masks in the pixels of that window.
struct Sample {
  int64_t image_id = 0;
  int64_t image_index = 0;  // in the dataset
  ImageSize original;       // as the JSON has it
  ImageSize scaled;
  int left = 0;  // the window lies inside the scaled picture
  int top = 0;
  ImageSize resized;  // inside the padded batch
  bool flipped = false;
  ColourTransform colour;
  std::vector<Paste> pastes;  // laid over the sample one after the other
  // Of annotations that are no crowd, have a box of some size inside the image and a mask that
  // is not empty; in the file's order, after them the pasted ones. Where a window or a paste has cut
  // an object, what is left has at least kMinCutArea_px pixels and the box is that of its mask.
  std::vector<float> boxes;     // (G, 4) x1, y1, x2, y2
  std::vector<int64_t> labels;  // (G) 1..K
  std::vector<Rle> masks;       // (G) height x width = resized
};

struct Batch {
  int64_t step = 0;
  int height = 0;  // padded; multiples of size_divisor
  int width = 0;
  // (N, height, width, 3), normalised, 0 in the padding. Its memory goes to a later batch when the
  // last copy of it is gone.
  PixelBuffer pixels;
  std::vector<Sample> samples;  // N
};

// What to load for global step s, as image indices of the dataset; nullopt ends the stream.
// Called in order of the steps, by the thread that makes the loader and calls next().
// Every rank's plan gives the whole batch.
using BatchPlan = std::function<std::optional<std::vector<int64_t>>(int64_t step)>;

// An image that cannot be read.
struct BadImage {
  int64_t image_id = 0;
  std::string what;  // "train2017/17.jpg: truncated JPEG"
  friend bool operator==(const BadImage&, const BadImage&) = default;
};

// An image that cannot be read is left out of its batch, counted, and reported by bad_images(). The
// others keep their order and the batch its padded size. Steps stay aligned: a batch of which no
// image is left is delivered with no samples, and it is the caller's to pass over it.
//
// next() and the destructor belong to one thread; bad_images() is anyone's.
class Loader {
 public:
  // The dataset, the store and the tracer (may be null) must outlive the loader. `image_prefix` is
  // put before each file_name ("train2017/"). `epoch_of` gives the epoch that keys step s's random
  // choices. Loading begins at once.
  Loader(const CocoDataset& dataset,
         storage::ObjectStore& store,
         std::string image_prefix,
         LoaderOptions options,
         BatchPlan plan,
         std::function<int64_t(int64_t step)> epoch_of,
         int64_t first_step = 0,
         trace::Tracer* tracer = nullptr);
  ~Loader();  // stops and joins the threads; waits for the images that are just being loaded

  // The next batch in order; nullopt at the end. Errors: more than max_bad_images unreadable images
  // (all listed), or a store that fails (kIo). After an error, every call gives it again.
  Result<std::optional<Batch>> next();

  // Each image once, in the order of the batches.
  std::vector<BadImage> bad_images() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace atl::dataset
