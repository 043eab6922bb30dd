// The splits of a dataset in TFRecords, for the commands that look at all there are. Shows how far
// the reading is, and prints the notes.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "dataset/tfrecord_dataset.h"

namespace atl::cli {

struct TfrecordSplitOptions {
  std::string uri;
  std::string pattern;  // one set of files, whatever their names say; "" = the URI's
  int threads = 0;      // 0: one for each processor
  int64_t max_bad_records = 0;
  std::string bad_limit_name;  // the option that sets it, for the error's hint
  std::stop_token stop;
  std::string cache_folder;  // where what was read is kept; "": all records are read
};

// `visit(split, records)` for the training and the validation split, where they are there; files
// that serve as both come once, as kTrain with both = true. kInvalidInput: there is neither.
struct TfrecordSplit {
  dataset::Split split = dataset::Split::kTrain;
  bool both = false;
  dataset::TfrecordDataset records;
};
Result<void> for_each_tfrecord_split(const TfrecordSplitOptions& options,
                                     const std::function<Result<void>(TfrecordSplit)>& visit);

}  // namespace atl::cli
