// The program that runs.
#pragma once

#include <string>

#include "base/error.h"

namespace atl {

// Its file, whatever it was called by. Errors: /proc is not there.
Result<std::string> own_program();

// What tells its build from others: the build id that the linker made of all that is in it, as hexadecimal digits.
// "": a program that was linked without one.
std::string own_build();

}  // namespace atl
