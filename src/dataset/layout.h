// Where a dataset's pieces lie below its root, as COCO lies on disk:
//   annotations/instances_{train,val}2017.json, train2017/, val2017/
// and the other customs that users have: annotations in the root or beside the images.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::dataset {

enum class Split { kTrain, kVal };

struct SplitLocation {
  std::string annotations;   // key of the JSON
  std::string image_prefix;  // "" or ends in '/'
  // Not empty where the user should know what was chosen: one file serves as both splits.
  std::string note;
};

// The annotations of a split, image_prefix left empty; nullopt where there are none. The first that
// is there of (train; val likewise, also called "valid")
//   annotations/instances_train2017.json, then instances_train of the latest other year,
//   instances_train.json or train.json in annotations/ or the root,
//   train/_annotations.coco.json,
// and then, for both splits alike and with a note, trainval.json, instances_default.json,
// instances.json or annotations.json, in annotations/ or the root. The validation split is never
// taken for the training split, nor the other way round.
Result<std::optional<SplitLocation>> find_annotations(storage::ObjectStore& store, Split split);

// The split's annotations and the folder of its images, see find_image_prefix. Where nothing fits:
// kInvalidInput that lists what was looked for.
Result<SplitLocation> find_split(storage::ObjectStore& store, Split split);

// The prefix ("" or ending in '/') below which most of these file names exist; for a user who names
// the JSON himself. Looks in `preferred`, in the folder called like the JSON (train2017/ for
// instances_train2017.json), also below images/, in images/, beside the JSON and in the root.
Result<std::string> find_image_prefix(storage::ObjectStore& store,
                                      std::string_view annotations_key,
                                      const std::vector<std::string>& some_file_names,
                                      std::string_view preferred = {});

// The first file names of the JSON, of which mostly only the beginning is read.
Result<std::vector<std::string>> some_file_names(storage::ObjectStore& store,
                                                 std::string_view annotations_key);

// The location for annotations that the user names: find_image_prefix with the JSON's first names.
Result<SplitLocation> locate_images(storage::ObjectStore& store, std::string_view annotations_key);

}  // namespace atl::dataset
