// One split of a dataset, opened: the store, the annotations, and the images that take part.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "dataset/image.h"
#include "dataset/layout.h"
#include "model/mask_rcnn.h"
#include "storage/storage.h"

namespace atl::train {

struct Split {
  std::unique_ptr<storage::ObjectStore> store;
  std::string annotations;   // key
  std::string image_prefix;  // "" or ends in '/'
  std::string note;          // for the user: one file serves as both splits
  dataset::CocoDataset dataset;
  std::vector<int64_t> images;  // indices that take part, in the dataset's order

  std::vector<dataset::ImageSize> sizes() const;  // of `images`
  std::string name() const;                       // "DIR/annotations/x.json", for messages
};

struct SplitOptions {
  std::string path;
  dataset::Split split = dataset::Split::kTrain;
  std::string annotations;   // "" = found
  std::string images;        // "" = found
  int64_t limit_images = 0;  // 0: all; else the dataset is cut to its first ones
  bool keep_empty = true;    // images without objects take part
};

// kNotFound: there is no such split (and none was named). kInvalidInput: broken annotations, no
// images or no categories.
Result<Split> open_split(const SplitOptions& options);

model::CategoryMap categories_of(const dataset::CocoDataset& dataset);
// kInvalidInput with both lists where they differ.
Result<void> check_categories(const model::CategoryMap& model,
                              const Split& split,
                              std::string_view model_name);

}  // namespace atl::train
