// Where this process stands among the processes of a job. Every launcher says it in a way of its own; this is the
// one place that reads them, and hands down plain numbers (docs/launching.md has the table, with sources).
//
// The first that speaks is believed:
//   flags, a launcher on this host (atoll launch, torchrun), SageMaker's resourceconfig.json, Open MPI, Slurm, AWS Batch's
//   multi-node jobs, PET_* (Kubeflow), JobSet, MASTER_ADDR/RANK/WORLD_SIZE, one process.
// A launcher on this host comes before those that have started it, whose variables its ranks inherit.
//
// Errors: kInvalidInput names the variable or the file, what is wrong with it and what to do; kUnsupported where a
// launcher says something right that Atoll does not do. Nothing is guessed where half of a set is missing: ranks that
// disagree would wait for one another.
//
// Thread safety: functions without state; this_machine() reads the environment, so no setenv() beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::job {

// torch's own default, where a job has no id to derive another from.
constexpr uint16_t kDefaultMasterPort = 29500;
constexpr int kMaxNodes = 65536;
constexpr int kMaxLocalSize = 1024;

struct Place {
  std::string source;  // for people: "Slurm job 476, step 0"
  std::string note;    // for people: what they may not have meant; mostly ""

  int nodes = 1;  // hosts; where the launcher does not count them, as many as the sizes need
  int node = 0;   // < nodes
  int local_size = 1;
  // nullopt: this process is the one of its host, and is to start the ranks of its host itself
  // (job/launch.h): rank, rank + 1 … rank + local_size - 1.
  std::optional<int> local_rank = 0;
  int rank = 0;  // < size; of all processes of the job
  int size = 1;

  std::string host;                       // this one, as it calls itself
  std::vector<std::string> hosts;         // all, by node; empty where the launcher does not say
  std::string master_host = "127.0.0.1";  // where rank 0 listens, as this host reaches it
  uint16_t master_port = kDefaultMasterPort;
  bool port_is_given = false;     // by a person or a launcher: not derived
  std::string network_interface;  // for NCCL and Gloo; "" where nobody says
};

// What the command line says.
struct PlaceFlags {
  // Ranks of each host. This process is to start them: it must be the only one of its host.
  std::optional<int> local_size;
  std::optional<int> nodes;  // with `node`, and with `rendezvous` when there are several
  std::optional<int> node;
  std::string rendezvous;  // "HOST:PORT" or "HOST" of rank 0; alone, it corrects what was found
};

// What can be known from outside this process.
struct PlaceSources {
  std::function<std::optional<std::string>(std::string_view name)> variable;
  std::function<Result<std::string>(const std::string& path)> read_file;  // kNotFound: no such file
  int accelerators = 0;
  std::string host;
};

// The environment, files, the GPUs under /dev (CUDA_VISIBLE_DEVICES, where it is set) and the host name.
PlaceSources this_machine();

Result<Place> find_place(const PlaceFlags& flags, const PlaceSources& sources);

// The rank that `atoll launch` has given to this process; nullopt: it was started otherwise.
std::optional<int> launched_rank(const PlaceSources& sources);

}  // namespace atl::job
