// Which files "tfrecord:…" means.
//
//   tfrecord:DIR                        the training or the validation records in DIR, by their
//                                       names: train-00000-of-00256.tfrecord, coco_val.record, …
//   tfrecord:DIR/train-*.tfrecord       these for training; for validation what lies beside them
//                                       with "val", "valid" or "validation" instead of "train"
//   tfrecord:DIR/train-?????-of-00256.tfrecord
//
// '*' and '?' stand for anything and any character, in the file's name only. A pattern that is given beside the URI
// (data.train_annotations) may begin with a folder below DIR: "train/part-*". "train" and the others
// count where they are a word of the name, with or without a year. Files that name no split serve
// as both, which is said. As with COCO JSON, the one split is never taken for the other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/layout.h"
#include "storage/storage.h"

namespace atl::dataset {

bool is_tfrecord_uri(std::string_view uri);

struct TfrecordUri {
  std::string directory;  // path or URI of a store
  std::string pattern;    // "" = by split
};
// kInvalidInput: no "tfrecord:" URI, or a wildcard in a directory's name.
Result<TfrecordUri> parse_tfrecord_uri(std::string_view uri);

// "train-00003-of-00256.tfrecord": 3 of 256, "train-" and ".tfrecord". Without numbers: 0 of 0.
struct ShardName {
  std::string before;
  std::string after;
  size_t number = 0;
  size_t count = 0;
  size_t digits = 0;  // of the number, with leading zeros

  // Without its numbers: "train.tfrecord".
  std::string group() const;
};
ShardName parse_shard_name(std::string_view name);
std::string shard_name(std::string_view split, size_t number, size_t count);

// By its ending or its numbers.
bool looks_like_shard(std::string_view name);

// '*' and '?' in the pattern.
bool matches_wildcards(std::string_view pattern, std::string_view name);

struct TfrecordShards {
  std::string pattern;                      // for messages
  std::vector<storage::ObjectInfo> shards;  // by group, then number
  std::vector<std::string> missing;  // of the N of "-of-N", those that match but are not there
  std::string note;                  // not empty where one set serves as both splits
};

// "train/" of "train/part-*"; "" where it has none.
std::string folder_of_pattern(std::string_view pattern);

enum class PatternMeans {
  kDataset,  // a dataset: its other split lies beside it
  kThese,    // these files, of which those of the split are wanted
  kSplit     // these files are the split, whatever their names say
};

// `pattern` "" takes the records of the split; else see above. kNotFound where there are none of
// this split; kInvalidInput where it is not clear which are meant.
Result<TfrecordShards> find_tfrecord_shards(storage::ObjectStore& store,
                                            std::string_view pattern,
                                            Split split,
                                            PatternMeans means = PatternMeans::kDataset);

}  // namespace atl::dataset
