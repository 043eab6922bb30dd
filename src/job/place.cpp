#include "job/place.h"

#include <fmt/format.h>

#include "base/check.h"
#include "job/address.h"
#include "job/place_sources.h"

namespace atl::job {
namespace {

constexpr std::string_view kFlags = "the command line";

Result<Place> from_flags(const PlaceFlags& flags, const Clues& clues) {
  constexpr std::string_view kHint =
      "every host is started with the same --nodes and --rendezvous, and a --node of its own from "
      "0 on; --node 0 runs on the host of --rendezvous";
  Place place = clues.place(std::string(kFlags));
  if (!flags.nodes) return refuse("--node is given without --nodes", kHint);
  if (*flags.nodes < 1 || *flags.nodes > kMaxNodes) {
    return refuse(fmt::format("--nodes {} is not from 1 to {}", *flags.nodes, kMaxNodes), kHint);
  }
  if (!flags.node && *flags.nodes > 1) return refuse("--nodes is given without --node", kHint);
  place.nodes = *flags.nodes;
  place.node = flags.node.value_or(0);
  if (place.node < 0 || place.node >= place.nodes) {
    return refuse(fmt::format("--node {} is not one of the {} nodes, 0 to {}",
                              place.node,
                              place.nodes,
                              place.nodes - 1),
                  kHint);
  }
  if (flags.rendezvous.empty() && place.nodes > 1) {
    return refuse("several nodes need --rendezvous HOST:PORT", kHint);
  }
  place.local_rank = std::nullopt;
  place.local_size = clues.usual_local_size();
  return place;
}

Result<Place> from_environment(const Clues& clues) {
  for (const auto source : {from_local_launcher,
                            from_sagemaker,
                            from_open_mpi,
                            from_slurm,
                            from_aws_batch,
                            from_kubeflow,
                            from_jobset,
                            from_torch_variables}) {
    if (auto found = ATOLL_TRY(source(clues))) return *std::move(found);
  }
  if (auto alone = outside_of_srun(clues)) return *std::move(alone);
  ATOLL_TRY(refuse_unknown_launcher(clues));
  return clues.place("one process");
}

// The ranks that this process is to start, where a person says how many.
Result<void> set_local_size(std::optional<int> wanted, Place& place) {
  if (!wanted) return {};
  if (*wanted < 1 || *wanted > kMaxLocalSize) {
    return refuse(fmt::format("{} ranks on a host are not from 1 to {}", *wanted, kMaxLocalSize));
  }
  if (place.local_rank && (place.local_size > 1 || place.nodes != place.size)) {
    return refuse(fmt::format("{} has started {} processes on this host already, and each of them "
                              "would start {} ranks",
                              place.source,
                              place.local_size,
                              *wanted),
                  "start one process for each host (srun --ntasks-per-node=1, mpirun --map-by "
                  "ppr:1:node), or leave \"atoll launch\" out");
  }
  if (place.local_rank) place.node = place.rank;
  place.local_rank = std::nullopt;
  place.local_size = *wanted;
  return {};
}

// Where rank 0 listens, said by a person.
Result<void> set_master(const PlaceFlags& flags, const Clues& clues, Place& place) {
  if (clues.variables.has("MASTER_ADDR") && place.source != kFlags) {
    place.master_host = ATOLL_TRY(clues.variables.host("the environment", "MASTER_ADDR"));
  }
  if (const auto port = ATOLL_TRY(clues.variables.port("MASTER_PORT"))) {
    if (place.source != kFlags && !place.port_is_given) {
      place.master_port = *port;
      place.port_is_given = true;
    }
  }
  if (flags.rendezvous.empty()) return {};
  const Address address = ATOLL_TRY(parse_address(flags.rendezvous, "--rendezvous"));
  place.master_host = address.host;
  if (address.port) place.master_port = *address.port;
  place.port_is_given = place.port_is_given || address.port.has_value();
  return {};
}

// The processes of a host that starts its own.
void count_ranks(const PlaceFlags& flags, Place& place) {
  if (place.local_rank) return;
  place.rank = place.node * place.local_size;
  place.size = place.nodes * place.local_size;
  if (!flags.local_size && place.local_size == 1) place.local_rank = 0;
}

}  // namespace

Result<Place> find_place(const PlaceFlags& flags, const PlaceSources& sources) {
  const Clues clues{Variables(sources.variable), sources};
  const bool by_flags = flags.nodes || flags.node;
  auto found = by_flags ? from_flags(flags, clues) : from_environment(clues);
  Place place = ATOLL_TRY(std::move(found));
  ATOLL_TRY(set_local_size(flags.local_size, place));
  ATOLL_TRY(set_master(flags, clues, place));
  count_ranks(flags, place);
  ATOLL_CHECK(place.node >= 0 && place.node < place.nodes && place.rank >= 0 &&
              place.rank < place.size && place.local_rank.value_or(0) < place.local_size)
      << place.source;
  return place;
}

}  // namespace atl::job
