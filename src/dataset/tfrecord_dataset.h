// A dataset in TFRecords, opened: one pass over all records makes the annotations (masks become
// runs) and notes where each picture lies; the pictures stay in the files. What the pass has made is kept as
// an index in a cache folder, if there is one (dataset/tfrecord_index.h): then other processes and later starts map that
// instead of reading the records.
//
// What the schema does not say outright:
//   image id    source_id, where all are different whole numbers; else 1, 2, … in the records'
//               order
//   file_name   image/filename, where it can be a key and no other image has it; else the id
//   categories  label_map.pbtxt beside the records (or the only *label*.pbtxt there), and the
//               classes that occur; without a label map only these, by class/label and class/text
//   annotation  ids are 1, 2, … in the records' order
// Each decision that is not the plain one is in `notes`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dataset/coco.h"
#include "dataset/layout.h"
#include "storage/storage.h"

namespace atl::dataset {

struct TfrecordOptions {
  Split split = Split::kTrain;
  std::string pattern;  // files of the URI's directory, whatever their name says; "" = the URI's
  bool only_named = false;  // not the other split beside the files that the URI names
  int threads = 1;
  int64_t max_bad_records = 0;  // damaged or unusable ones tolerated; one more is an error
  std::string bad_limit_name = "data.max_bad_images";  // what that is set by, for the error's hint
  // Of the files, in bytes; from one thread at a time.
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;
  std::stop_token stop;  // kCancelled
  // Where the index is kept; "": nowhere, and all records are read.
  std::string cache_folder;
  // Fewer records than that are read each time: it takes a moment.
  uint64_t index_from_bytes = uint64_t{16} << 20;
  // Told that it cannot be written, or that another process makes it and is waited for.
  std::function<void(const std::string&)> note;
};

struct TfrecordDataset {
  std::unique_ptr<storage::ObjectStore> store;  // the pictures, by file_name
  CocoDataset dataset;
  std::string pattern;             // of the files, for messages
  std::vector<std::string> notes;  // what a person should know, a line each
  // "train-00003-of-00256.tfrecord: the record at byte 1234: why", in the files' order. Out of an index: as the pass
  // found them that made it.
  std::vector<std::string> bad_records;
  int64_t bad_record_count = 0;  // with an estimate of what a broken file has lost
  std::vector<std::string> missing_shards;
  bool serves_as_both = false;  // the files name no split
  // There was a label map, so that `categories` has those without objects, too.
  bool categories_are_listed = false;
};

// Where an index has more bad records than allowed, the records are read again.
// Errors: see find_tfrecord_shards (kNotFound: there are no records of this split); more bad
// records than allowed (kInvalidInput, all named); a label map that is none; a store that fails.
Result<TfrecordDataset> open_tfrecords(std::string_view uri, const TfrecordOptions& options);
// The same of the files in a store; `pattern` is what a URI has behind its directory.
Result<TfrecordDataset> open_tfrecords(std::unique_ptr<storage::ObjectStore> files,
                                       const std::string& pattern,
                                       const TfrecordOptions& options);

}  // namespace atl::dataset
