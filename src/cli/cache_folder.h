// Where a user's machine keeps what can be made again: $XDG_CACHE_HOME/atoll, ~/.cache/atoll, or ""
// where neither is set. (Relative values of XDG_CACHE_HOME are to be ignored, says its standard.)
#pragma once

#include <string>

namespace atl::cli {

std::string cache_folder();

}  // namespace atl::cli
