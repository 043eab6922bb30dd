// Where a dataset's pieces lie below its root, as COCO lies on disk:
//   annotations/instances_{train,val}2017.json, train2017/, val2017/
// and the other customs that users have: annotations in the root or beside the images.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::dataset {

enum class Split { kTrain, kVal };

struct SplitLocation {
  std::string annotations;   // key of the JSON
  std::string image_prefix;  // "" or ends in '/'
};

// Finds a split, first by COCO's names (2017, then any year), then instances_{train,val}.json or
// {train,val}.json in the root or annotations/, with images in {train,val}/, images/ or the root (decided by looking
// for the first images of the JSON). Where nothing fits: kInvalidInput that lists what was looked for.
Result<SplitLocation> find_split(storage::ObjectStore& store, Split split);

// The prefix under which these file names exist; for a user who names the JSON himself.
Result<std::string> find_image_prefix(storage::ObjectStore& store,
                                      std::string_view annotations_key,
                                      const std::vector<std::string>& some_file_names,
                                      std::string_view preferred);

}  // namespace atl::dataset
