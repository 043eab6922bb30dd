// Which annotations `atoll data …` looks at.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "dataset/layout.h"
#include "storage/storage.h"

namespace atl::cli {

// Those that the user names ("" = none are named), or the splits that are there; a file that serves
// as both comes once. Image prefixes are left empty.
Result<std::vector<dataset::SplitLocation>> chosen_splits(storage::ObjectStore& store,
                                                          const std::string& annotations);

}  // namespace atl::cli
