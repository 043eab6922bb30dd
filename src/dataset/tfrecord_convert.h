// COCO JSON with its pictures to sharded TFRecords, and back. Both ways go on where they stopped:
// every file appears whole under its name or not at all, and what is there already is checked
// before it is kept.
//
// To TFRecords: NAME-00000-of-00256.tfrecord, …, label_map.pbtxt, and NAME.manifest.jsonl, which
// says what the shards were made of and each finished one's size and CRC-32C. Images keep their
// order, an equal number in each shard.
//
// What the schema has no place for is lost: polygons (they become masks, to the pixel),
// supercategories, annotation ids, and anything in the JSON that Atoll does not read. Boxes and
// areas become float32.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "dataset/tfrecord_dataset.h"
#include "storage/storage.h"

namespace atl::dataset {

struct ConvertOptions {
  int threads = 1;
  int64_t max_bad_images = 0;  // unreadable pictures left out; one more is an error
  bool overwrite = false;      // replace files of other contents
  // In images; from one thread at a time.
  std::function<void(int64_t done, int64_t total)> progress;
  std::stop_token stop;
};

struct ConvertResult {
  int64_t images = 0;                   // in the target now
  int64_t files = 0;                    // shards, or pictures
  int64_t kept_files = 0;               // of these, found finished
  std::vector<std::string> bad_images;  // left out, and why
};

// One shard for so many images: 100 MB of pictures like COCO's, which the records' readers like.
inline constexpr int64_t kImagesPerShard = 512;

struct ShardedTarget {
  std::string name;         // "train"
  int64_t shards = 0;       // 0: by kImagesPerShard
  std::string fingerprint;  // of the source: a changed one is not gone on with
};

// kInvalidInput: too many bad images; shards there that are another conversion's. kCancelled after
// a stop: the shards that are finished stay.
Result<ConvertResult> coco_to_tfrecords(const CocoDataset& dataset,
                                        storage::ObjectStore& pictures,
                                        std::string_view image_prefix,
                                        storage::ObjectStore& out,
                                        const ShardedTarget& target,
                                        const ConvertOptions& options);

// Pictures go below `image_prefix`; the JSON comes last. kInvalidInput: a file there has other
// contents.
Result<ConvertResult> tfrecords_to_coco(const TfrecordDataset& records,
                                        storage::ObjectStore& out,
                                        std::string_view annotations_key,
                                        std::string_view image_prefix,
                                        const ConvertOptions& options);

}  // namespace atl::dataset
