// The program behind main(): parses the command line, runs the command and turns whatever happens
// into an exit code and at most one line.
//
// Exit codes: 0 done; 1 failed; 2 bad usage or bad input; 130 or 143 after SIGINT or SIGTERM.
#pragma once

#include "cli/engine.h"

namespace atl::cli {

int run_program(int argc, const char* const* argv, Engine& engine);

}  // namespace atl::cli
