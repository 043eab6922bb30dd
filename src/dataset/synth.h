// Generates a dataset of shapes in COCO's layout: discs, rectangles, triangles and stars that
// overlap, on textured noise. Small enough for a demo and a test, with the awkward parts of real
// data: occlusion, image id 0, category ids with a hole, both kinds of mask, crowds, images with no
// object.
//
// Every image is a pure function of (seed, split, index, size): neither the number of images nor
// that of threads changes it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/error.h"
#include "dataset/coco_builder.h"
#include "dataset/image.h"
#include "dataset/layout.h"
#include "storage/storage.h"

namespace atl::dataset {

struct SynthOptions {
  int64_t train_images = 1000;
  int64_t val_images = 200;
  int size_px = 128;  // width and height, 32..4096; the shapes grow with it
  uint64_t seed = 0;
  int threads = 1;
  // Called now and then, from one thread at a time.
  std::function<void(int64_t done, int64_t total)> progress;
};

// The four classes, by id: 1 disc, 2 rectangle, 3 triangle, 5 star.
std::vector<Category> synth_categories();

struct SynthImage {
  Picture picture;
  // Without ids; in the order in which they were drawn. The mask is what is visible: a polygon
  // where nothing covers the object, an RLE otherwise; `rle` is set in both cases. Box and area are
  // those of the mask.
  std::vector<AnnotationRecord> objects;
};
SynthImage synth_image(uint64_t seed, Split split, int64_t index, int size_px);

// Writes {train,val}2017/000000000000.jpg … and, when all are there,
// annotations/instances_{train,val}2017.json. A split with no images is not written.
Result<void> synthesise(storage::ObjectStore& store, const SynthOptions& options);

}  // namespace atl::dataset
