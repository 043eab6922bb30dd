// One local rank as a process.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace atl::job {

struct RankProcess {
  pid_t pid = -1;
  UniqueFd out;  // what it writes to its standard output, to be read without blocking
  UniqueFd err;
};

struct RankRequest {
  std::vector<std::string> command;  // the program first, looked for in PATH where it has no slash
  std::vector<std::string> environment;  // NAME=VALUE
  std::vector<int> cpus;                 // empty: all of ours
  sigset_t signal_mask{};
  // Its standard error is a terminal of its own as wide as this one; -1: a pipe.
  int terminal = -1;
  std::vector<int> inherited;  // descriptors above 2 that it keeps, by the same numbers
};

// Starts it: in a process group of its own (a Ctrl-C reaches the launcher alone), with nothing to read, and killed by the
// kernel as soon as the calling thread ends, however it ends. Returns when the program runs.
// Errors: kNotFound or kIo: the program cannot be run.
Result<RankProcess> start_rank(const RankRequest& request);

// Gives the terminal of a rank the size of another.
void copy_terminal_size(int from, int to);

}  // namespace atl::job
