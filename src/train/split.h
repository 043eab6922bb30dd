// One split of a dataset, opened: the store, the annotations, and the images that take part. From
// COCO's layout, or from TFRecords ("tfrecord:DIR", dataset/tfrecord_dataset.h).
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "dataset/image.h"
#include "dataset/layout.h"
#include "model/mask_rcnn.h"
#include "storage/storage.h"
#include "train/train.h"

namespace atl::train {

struct Split {
  std::unique_ptr<storage::ObjectStore> store;
  std::string annotations;   // key of the JSON, or the records' pattern
  std::string image_prefix;  // "" or ends in '/'
  std::string note;          // for the user: one file serves as both splits
  dataset::CocoDataset dataset;
  std::vector<int64_t> images;  // indices that take part, in the dataset's order
  // Of TFRecords: damaged records that are left out; and whether `dataset` has no more categories
  // than occur in it, because nothing lists them.
  int64_t bad_records = 0;
  bool only_seen_categories = false;

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
  std::string bad_limit_name = "data.max_bad_images";  // what sets the next, for the error's hint
  int64_t max_bad_records = 0;  // of TFRecords, which take a pass over all of them:
  int threads = 0;              // 0: all available
  Console console;              // says how far it is and what it leaves out
  std::stop_token stop;
};

// kNotFound: there is no such split (and none was named). kInvalidInput: broken annotations, no
// images or no categories.
Result<Split> open_split(const SplitOptions& options);
// Whether open_split() would find one, without reading it.
Result<bool> has_split(const SplitOptions& options);

model::CategoryMap categories_of(const dataset::CocoDataset& dataset);
// kInvalidInput with both lists where they differ. A split that shows only categories that occur in
// it takes the model's, if its own are among them.
Result<void> check_categories(const model::CategoryMap& model,
                              Split& split,
                              std::string_view model_name);

}  // namespace atl::train
