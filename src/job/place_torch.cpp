// The variables of torch: those that a rank gets from torchrun and from `atoll launch`, those with which Kubeflow
// configures torchrun in each pod (PET_*: the options of torchrun in capitals), and those that people set by hand.
// Sources: torch/distributed/run.py and elastic/agent/server/local_elastic_agent.py; pkg/controller.v1/pytorch/envvar.go
// of Kubeflow's training operator; examples/pytorch of JobSet.
//
// RANK is a process's where LOCAL_RANK stands beside it, and a pod's in Kubeflow and JobSet.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "job/address.h"
#include "job/launch_variables.h"
#include "job/place_sources.h"

namespace atl::job {
namespace {

constexpr int kMostRanks = kMaxNodes * kMaxLocalSize;

// RANK, WORLD_SIZE, MASTER_ADDR and what may stand beside them.
Found from_rank_variables(const Clues& clues, const std::string& source) {
  const Variables& variables = clues.variables;
  constexpr std::string_view kHint =
      "RANK, WORLD_SIZE and MASTER_ADDR belong together, and LOCAL_RANK and LOCAL_WORLD_SIZE with "
      "them where a host has several processes; unset them all for one process";
  Place place = clues.place(source);
  place.size = ATOLL_TRY(variables.number(source, "WORLD_SIZE", 1, kMostRanks, kHint));
  place.rank = ATOLL_TRY(variables.number(source, "RANK", 0, place.size - 1, kHint));
  if (variables.has("LOCAL_RANK") || variables.has("LOCAL_WORLD_SIZE")) {
    const int most = std::min(place.size, kMaxLocalSize);
    place.local_size = ATOLL_TRY(variables.number(source, "LOCAL_WORLD_SIZE", 1, most, kHint));
    place.local_rank =
        ATOLL_TRY(variables.number(source, "LOCAL_RANK", 0, place.local_size - 1, kHint));
  }
  place.nodes = (place.size + place.local_size - 1) / place.local_size;
  place.node = place.rank / place.local_size;
  if (variables.has("GROUP_RANK") && variables.has("GROUP_WORLD_SIZE")) {
    place.nodes = ATOLL_TRY(variables.number(source, "GROUP_WORLD_SIZE", 1, place.size, kHint));
    place.node = ATOLL_TRY(variables.number(source, "GROUP_RANK", 0, place.nodes - 1, kHint));
  }
  place.master_host = ATOLL_TRY(variables.host(source, "MASTER_ADDR", kHint));
  return place;
}

// As the launcher knows them; for messages, so that what does not fit is left out.
std::vector<std::string> read_hosts(const Clues& clues, const Place& place) {
  const std::string text = clues.variables.text(kHostsVariable);
  std::vector<std::string> hosts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    hosts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  const bool fits = hosts.size() == static_cast<size_t>(place.nodes) &&
                    place.size == place.nodes * place.local_size &&
                    std::ranges::all_of(hosts, [](const auto& host) { return is_host(host); });
  return fits ? hosts : std::vector<std::string>{};
}

// "2", or "2:2" of a job that could be elastic.
Result<int> read_node_count(const Variables& variables) {
  const std::string text = variables.text("PET_NNODES");
  const size_t colon = text.find(':');
  const auto least = parse_number(text.substr(0, colon), 1, kMaxNodes);
  const auto most =
      colon == std::string::npos ? least : parse_number(text.substr(colon + 1), 1, kMaxNodes);
  if (!least || !most || *least > *most) {
    return refuse(fmt::format("PET_NNODES=\"{}\" is no number of nodes", shown(text)));
  }
  if (*least != *most) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("PET_NNODES=\"{}\": the number of nodes may change", shown(text)),
                "give the job a fixed number: minReplicas and maxReplicas alike");
  }
  return static_cast<int>(*least);
}

// "auto", "gpu", "cpu" or a number.
Result<int> read_processes_per_node(const Clues& clues) {
  constexpr std::string_view kName = "PET_NPROC_PER_NODE";
  const std::string text = clues.variables.text(kName);
  if (text.empty() || text == "auto" || text == "gpu") return clues.usual_local_size();
  if (text == "cpu") return 1;  // torch's meaning, a process for each core, is for no model of ours
  return clues.variables.number("Kubeflow", kName, 1, kMaxLocalSize);
}

// torchrun's agent mostly listens at MASTER_PORT itself, for a store that it lends to its ranks; ours then is beside it.
Found from_torchrun(const Clues& clues) {
  auto place = ATOLL_TRY(from_rank_variables(clues, "torchrun"));
  const auto port = ATOLL_TRY(clues.variables.port("MASTER_PORT"));
  if (place && port && clues.variables.text("TORCHELASTIC_USE_AGENT_STORE") == "True") {
    place->master_port = static_cast<uint16_t>(*port == UINT16_MAX ? *port - 1 : *port + 1);
    place->port_is_given = true;
  }
  return place;
}

}  // namespace

std::optional<int> launched_rank(const PlaceSources& sources) {
  const Variables variables(sources.variable);
  if (!variables.has(kLaunchedVariable)) return std::nullopt;
  const auto rank = parse_number(variables.text("RANK"), 0, kMostRanks);
  return rank ? std::optional<int>(static_cast<int>(*rank)) : std::nullopt;
}

Found from_local_launcher(const Clues& clues) {
  if (clues.variables.has(kLaunchedVariable)) {
    auto place = ATOLL_TRY(from_rank_variables(clues, "atoll launch"));
    if (place) place->hosts = read_hosts(clues, *place);
    return place;
  }
  if (clues.variables.has("TORCHELASTIC_RUN_ID") && clues.variables.has("LOCAL_RANK")) {
    return from_torchrun(clues);
  }
  return std::nullopt;
}

Found from_kubeflow(const Clues& clues) {
  const Variables& variables = clues.variables;
  if (!variables.has("PET_NNODES")) return std::nullopt;
  constexpr std::string_view kSource = "Kubeflow";
  Place place = clues.place(std::string(kSource));
  place.nodes = ATOLL_TRY(read_node_count(variables));
  place.local_size = ATOLL_TRY(read_processes_per_node(clues));
  place.local_rank = std::nullopt;
  if (place.nodes == 1) return place;
  const std::string_view rank = variables.first_set({"RANK", "PET_NODE_RANK"});
  const std::string_view node = variables.has("PET_NODE_RANK") ? "PET_NODE_RANK" : rank;
  place.node = ATOLL_TRY(variables.number(kSource, node, 0, place.nodes - 1));
  const std::string_view address = variables.first_set({"PET_MASTER_ADDR", "MASTER_ADDR"});
  place.master_host = ATOLL_TRY(variables.host(kSource, address));
  const auto port = ATOLL_TRY(variables.port("PET_MASTER_PORT"));
  if (port) place.master_port = *port;
  place.port_is_given = port.has_value();
  return place;
}

Found from_jobset(const Clues& clues) {
  const Variables& variables = clues.variables;
  constexpr std::string_view kIndex = "JOB_COMPLETION_INDEX";
  // Without an address it is an indexed Job, whose pods have nothing to do with one another.
  if (!variables.has(kIndex) || !variables.has("MASTER_ADDR")) return std::nullopt;
  if (variables.has("LOCAL_RANK")) return std::nullopt;
  constexpr std::string_view kSource = "JobSet";
  constexpr std::string_view kHint =
      "JobSet does not tell a pod how many there are: put WORLD_SIZE, the number of pods, beside "
      "MASTER_ADDR in the env of the container";
  Place place = clues.place(std::string(kSource));
  const std::string_view nodes = variables.first_set({"NNODES", "WORLD_SIZE"});
  place.nodes = ATOLL_TRY(variables.number(kSource, nodes, 1, kMaxNodes, kHint));
  const std::string_view node = variables.first_set({"RANK", kIndex});
  place.node = ATOLL_TRY(variables.number(kSource, node, 0, place.nodes - 1, kHint));
  place.local_size = clues.usual_local_size();
  place.local_rank = std::nullopt;
  place.master_host = ATOLL_TRY(variables.host(kSource, "MASTER_ADDR"));
  return place;
}

Found from_torch_variables(const Clues& clues) {
  const Variables& variables = clues.variables;
  for (const std::string_view name : {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"}) {
    if (variables.has(name)) return from_rank_variables(clues, "RANK and WORLD_SIZE");
  }
  return std::nullopt;
}

}  // namespace atl::job
