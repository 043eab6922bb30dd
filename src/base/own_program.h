// The program that runs.
#pragma once

#include <string>

#include "base/error.h"

namespace atl {

// Its file, whatever it was called by. Errors: /proc is not there.
Result<std::string> own_program();

}  // namespace atl
