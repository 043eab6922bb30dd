// Open MPI's mpirun, 4 and 5: a process for each rank. Source: "Environment variables set for MPI applications" of its
// documentation. It does not say where rank 0 runs, and PMIx, which knows, does not say it in variables.
#include <fmt/format.h>

#include <set>
#include <string>
#include <string_view>

#include "job/address.h"
#include "job/nodelist.h"
#include "job/place_sources.h"

namespace atl::job {
namespace {

constexpr std::string_view kSource = "Open MPI's mpirun";
constexpr std::string_view kRank = "OMPI_COMM_WORLD_RANK";
constexpr std::string_view kSize = "OMPI_COMM_WORLD_SIZE";
constexpr std::string_view kLocalRank = "OMPI_COMM_WORLD_LOCAL_RANK";
constexpr std::string_view kLocalSize = "OMPI_COMM_WORLD_LOCAL_SIZE";
constexpr int kMostRanks = kMaxNodes * kMaxLocalSize;

// mpirun itself is daemon 0, and those that it starts on other hosts count from 1: "1881473024.1;tcp4://127.0.0.1:41727",
// "prterun-node18-12345@0.0;tcp4://10.20.30.40:45678".
bool is_beside_mpirun(const Variables& variables) {
  const std::string_view name = variables.first_set(
      {"PMIX_SERVER_URI41", "PMIX_SERVER_URI4", "PMIX_SERVER_URI3", "PMIX_SERVER_URI2"});
  const std::string daemon = variables.text(name);
  return std::string_view(daemon).substr(0, daemon.find(';')).ends_with(".0");
}

// In an allocation of Slurm's. mpirun fills its own host first, where that is one of the allocation, then the others in their
// order; on all those it has a daemon, in one step (seen with Open MPI 4.1.4, tests/launchers).
Result<std::string> host_of_rank_0(const Variables& variables, const Place& place) {
  const std::string_view name = variables.first_set({"SLURM_JOB_NODELIST", "SLURM_NODELIST"});
  if (!variables.has(name)) {
    return refuse(fmt::format("{}: nobody says on which host rank 0 runs", kSource),
                  "name it: mpirun -x MASTER_ADDR=HOST …");
  }
  const auto hosts = ATOLL_TRY_CONTEXT(expand_nodelist(variables.text(name)), name);
  if (is_beside_mpirun(variables)) return place.master_host;  // this one
  constexpr std::string_view kStep = "SLURM_STEP_NODELIST";
  if (variables.has(kStep)) {
    const auto step = ATOLL_TRY_CONTEXT(expand_nodelist(variables.text(kStep)), kStep);
    const std::set<std::string> daemons(step.begin(), step.end());
    for (const auto& host : hosts) {
      if (!daemons.contains(host)) return host;
    }
  }
  return hosts.front();
}

}  // namespace

Found from_open_mpi(const Clues& clues) {
  const Variables& variables = clues.variables;
  if (!variables.has(kRank) && !variables.has(kSize)) return std::nullopt;
  constexpr std::string_view kHint =
      "mpirun sets OMPI_COMM_WORLD_{RANK,SIZE,LOCAL_RANK,LOCAL_SIZE}; unset what is left of them "
      "where it has not started this process";
  Place place = clues.place(std::string(kSource));
  place.size = ATOLL_TRY(variables.number(kSource, kSize, 1, kMostRanks, kHint));
  place.rank = ATOLL_TRY(variables.number(kSource, kRank, 0, place.size - 1, kHint));
  const int most_local = std::min(place.size, kMaxLocalSize);
  place.local_size = ATOLL_TRY(variables.number(kSource, kLocalSize, 1, most_local, kHint));
  place.local_rank =
      ATOLL_TRY(variables.number(kSource, kLocalRank, 0, place.local_size - 1, kHint));
  // As with --map-by slot, the default: it has no variable for it.
  place.nodes = (place.size + place.local_size - 1) / place.local_size;
  place.node = place.rank / place.local_size;
  if (place.size > place.local_size && !variables.has("MASTER_ADDR")) {
    place.master_host = ATOLL_TRY(host_of_rank_0(variables, place));
  }
  const std::string job = variables.text("PMIX_NAMESPACE");
  if (!job.empty()) place.master_port = port_of_job(job);
  return place;
}

Result<void> refuse_unknown_launcher(const Clues& clues) {
  const auto several = [&](std::string_view name) {
    return parse_number(clues.variables.text(name), 2, INT64_MAX).has_value();
  };
  constexpr std::string_view kHint =
      "set RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE and MASTER_ADDR for each process, or use "
      "Open MPI's mpirun, srun or \"atoll launch\"";
  if (several("PMI_SIZE")) {
    return fail(ErrorCode::kUnsupported,
                "a launcher that speaks PMI (PMI_SIZE is set: MPICH's or Intel's mpirun) has "
                "started this process, and Atoll does not read its variables",
                std::string(kHint));
  }
  if (clues.variables.has("PMIX_RANK")) {
    return fail(ErrorCode::kUnsupported,
                "a launcher that speaks PMIx (PMIX_RANK is set) has started this process, and no "
                "variable says how many there are",
                std::string(kHint));
  }
  return {};
}

}  // namespace atl::job
