// What a rank of `atoll launch` finds in its environment, besides torch's own variables.
#pragma once

#include <chrono>

#include "base/unique_fd.h"
#include "job/place.h"

namespace atl::job {

// "1" in a rank: then RANK and its like are this process's, whatever the launchers outside have set, and the launcher
// is who decides when a stop takes too long.
constexpr const char* kLaunchedVariable = "ATOLL_LAUNCHED";
// Of rank 0, where atoll runs itself: a socket that listens on MASTER_PORT already, so that nobody else gets it.
constexpr const char* kListenVariable = "ATOLL_LISTEN_FD";
// Of rank 0 in a job that goes on after failures: where it writes the first step that it has done, as a line.
constexpr const char* kStepVariable = "ATOLL_STEP_FD";
// In a job that goes on after failures: how many seconds rank 0 waits for an earlier round's to leave the output.
constexpr const char* kOutputWaitVariable = "ATOLL_OUTPUT_WAIT";

// What this process has from `atoll launch`; nothing where it was started otherwise. Takes the descriptors over, so it is
// to be asked once.
struct Inheritance {
  UniqueFd listener;
  UniqueFd steps;
  std::chrono::seconds output_wait{0};
};
Inheritance inheritance(const PlaceSources& sources);

// The hosts of the job by node, with commas between them, where they are known: for messages.
constexpr const char* kHostsVariable = "ATOLL_HOSTS";

}  // namespace atl::job
