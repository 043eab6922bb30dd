// Starts the ranks of this host, merges what they write (job/merged_output.h), passes signals on and ends them together.
//
// Each rank finds torch's variables: RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, GROUP_RANK, GROUP_WORLD_SIZE, MASTER_ADDR and
// MASTER_PORT; ATOLL_LAUNCHED=1; OMP_NUM_THREADS as many as it has processors; NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME where the
// interface is known. The last three only where they are not set already. It reads from /dev/null.
//
// Signals. SIGINT and SIGTERM go to every rank once, with what it has started; a SIGHUP arrives as SIGTERM, for a lost
// terminal should cost no checkpoint. One that was ignored when we started (nohup) stays ignored. After `grace`, or at a
// second signal, what still runs is killed. When a rank fails, the others get SIGTERM and have `failure_grace`.
// When the launcher dies, however, the kernel kills the ranks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "job/place.h"
#include "job/rendezvous.h"

namespace atl::job {

struct LaunchOptions {
  std::vector<std::string> command;  // the program first, looked for in PATH where it has no slash
  std::vector<std::string> environment;  // NAME=VALUE: what the ranks inherit
  Place place;                           // ranks place.rank … place.rank + place.local_size - 1
  bool bind_cpus = true;                 // an own share of the processors for each rank
  std::chrono::milliseconds grace{30'000};
  std::chrono::milliseconds failure_grace{10'000};
  // How long rank 0 may wait for one of a round before to leave the run's output (ATOLL_OUTPUT_WAIT).
  std::chrono::seconds output_wait{0};
  // How long a process that a rank has left behind may hold its output open once all ranks have ended.
  std::chrono::milliseconds drain{1'000};
  // Rank 0 takes over a socket that listens on MASTER_PORT already (ATOLL_LISTEN_FD), where the port is ours to
  // choose: for programs that know of it. Others find the port free.
  bool hand_over_listener = false;
  int out = 1;  // descriptors for what the ranks write; they stay open
  int err = 2;
};

struct LaunchOutcome {
  // 0 when all ranks ended with 0, else the code of the first that did not: its own, or 128 + its signal.
  int exit_code = 0;
  // Of the first rank that failed: the last lines of its standard error, and "rank 1 on HOST ended with code 2".
  std::vector<std::string> last_lines;
  std::string how_it_ended;
  // errno when the output could not be written; the ranks went on without it.
  int output_error = 0;
};

// Runs until every rank has ended. While it does, SIGINT, SIGTERM, SIGHUP, SIGCHLD and SIGWINCH are blocked in this thread and read
// here: other threads must block them, too, and the thread must not end before its ranks.
// What a failed rank last wrote to its standard error, and how it ended, are the last lines on `err`.
// Errors: a rank cannot be started; those that run already are killed.
Result<LaunchOutcome> launch(const LaunchOptions& options);

// The same, in rounds: when a rank or a host fails, a Rendezvous says who goes on (job/rendezvous.h). Of options.place only
// what is this host's own counts. Says a line for what happens. The exit code is the job's, on every host. `meet` is called
// once the signals are blocked, so it may start threads.
Result<LaunchOutcome> launch_rounds(
    const LaunchOptions& options, const std::function<Result<std::unique_ptr<Rendezvous>>()>& meet);

// The environment of one rank. `threads`: for OMP_NUM_THREADS.
std::vector<std::string> rank_environment(const LaunchOptions& options,
                                          int local_rank,
                                          int threads);

// The environment of this process, as NAME=VALUE.
std::vector<std::string> own_environment();

}  // namespace atl::job
