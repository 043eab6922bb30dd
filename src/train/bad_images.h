// Images that could not be read, as lines for people, and which of them still cannot.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "dataset/loader.h"
#include "train/split.h"

namespace atl::train {

// Those that a loader with these options says again today: an image that has been repaired or has left the
// split is not among them. `lines` are of Loader::bad_images(). kIo: the store failed.
Result<std::vector<dataset::BadImage>> still_bad_images(const std::vector<std::string>& lines,
                                                        const Split& split,
                                                        dataset::LoaderOptions options);

}  // namespace atl::train
