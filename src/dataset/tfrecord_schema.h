// One image of an instance segmentation dataset as a tf.train.Example, in the schema of
// TensorFlow's object detection API (create_coco_tf_record.py, tf_example_decoder.py):
//
//   image/encoded  image/format  image/filename  image/source_id  image/key/sha256
//   image/height  image/width                                      one value each
//   image/object/bbox/{xmin,xmax,ymin,ymax}                        float, by width and height
//   image/object/class/{text,label}  image/object/{is_crowd,area}  one value an object
//   image/object/mask                                              one PNG an object
//
// What is read: a list of objects has a value for each object or is not there. Without is_crowd
// nothing is a crowd, without area it is the mask's, without bbox the box is the mask's, without
// mask (or with an empty one) an object has none. Without label the text is looked up in the label
// map. Without height and width the picture's own header has them.
//
// What is written has them all; a mask only where an object of the image has one (then an object
// without gets its box as a mask, which is how it would be trained on, for other readers take no
// empty PNG). Boxes are float32: x, y, w and h come back within 2^-22 of the side of the image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "dataset/coco_builder.h"
#include "dataset/tfrecord_example.h"
#include "dataset/tfrecord_labels.h"

namespace atl::dataset {

struct TfrecordImage {
  // Views into the record.
  std::string_view encoded;
  std::string_view file_name;  // may be empty
  std::string_view source_id;  // may be empty
  int64_t width = 0;
  int64_t height = 0;
  // category_id is the label; ids are the caller's to give.
  std::vector<AnnotationRecord> objects;
  std::vector<std::string_view> class_texts;  // one an object, or none
};

// kInvalidInput names the feature; kCorrupt never comes from here. What is returned has been through
// every check of CocoBuilder. `labels` may be null.
Result<TfrecordImage> read_tfrecord_image(const TfExample& example, const LabelMap* labels);

// The serialised Example of one image; `encoded` is the picture's file, JPEG or PNG.
Result<std::string> tfrecord_of_image(const CocoDataset& dataset,
                                      size_t image_index,
                                      std::span<const std::byte> encoded);

}  // namespace atl::dataset
