// A step of a Slurm job. Source: "OUTPUT ENVIRONMENT VARIABLES" of srun(1), sbatch(1) and salloc(1).
//
// Only srun starts several tasks. The shell of salloc and the script of sbatch are one process each, although they
// find SLURM_NTASKS, and even SLURM_PROCID=0, in their environment; the step in which newer versions of salloc run that
// shell has one of the numbers that no real step has.
#include <fmt/format.h>

#include <numeric>

#include "job/address.h"
#include "job/nodelist.h"
#include "job/place_sources.h"

namespace atl::job {
namespace {

constexpr std::string_view kSource = "Slurm";
constexpr int64_t kFirstSpecialStep = 0xfffffff0;  // slurm.h: interactive, batch, extern, pending
constexpr int kMostTasks = kMaxNodes * kMaxLocalSize;

struct Step {
  std::string job;
  std::optional<int64_t> number;  // nullopt: not in a step that srun has started
};

Step find_step(const Variables& variables) {
  Step step;
  step.job = variables.text(variables.first_set({"SLURM_JOB_ID", "SLURM_JOBID"}));
  const std::string number = variables.text(variables.first_set({"SLURM_STEP_ID", "SLURM_STEPID"}));
  if (variables.has("SLURM_PROCID")) step.number = parse_number(number, 0, kFirstSpecialStep - 1);
  return step;
}

}  // namespace

std::optional<Place> outside_of_srun(const Clues& clues) {
  const Step step = find_step(clues.variables);
  if (step.job.empty()) return std::nullopt;
  Place place = clues.place(fmt::format("Slurm job {}, outside of srun", shown(step.job)));
  place.master_port = port_of_job(step.job);
  const auto several = [&](std::string_view name) {
    return parse_number(clues.variables.text(name), 2, INT64_MAX).has_value();
  };
  if (several("SLURM_JOB_NUM_NODES") || several("SLURM_NNODES") || several("SLURM_NTASKS")) {
    place.note = fmt::format(
        "Slurm job {} has several nodes or tasks, but this is one process on one node; start it "
        "with srun",
        shown(step.job));
  }
  return place;
}

namespace {

// Tasks on this node.
Result<int> tasks_here(const Variables& variables, const Place& place) {
  const std::string_view name =
      variables.first_set({"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"});
  const std::string text = ATOLL_TRY(variables.required(kSource, name));
  const auto tasks = ATOLL_TRY_CONTEXT(expand_tasks_per_node(text), name);
  const int64_t sum = std::accumulate(tasks.begin(), tasks.end(), int64_t{0});
  if (tasks.size() != static_cast<size_t>(place.nodes) || sum != place.size) {
    return refuse(fmt::format("Slurm: {}=\"{}\" is not for {} tasks on {} nodes",
                              name,
                              shown(text),
                              place.size,
                              place.nodes));
  }
  return tasks[static_cast<size_t>(place.node)];
}

Result<std::string> first_host(const Variables& variables, const Place& place) {
  const std::string_view name =
      variables.first_set({"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"});
  const std::string text = ATOLL_TRY(variables.required(kSource, name));
  const auto hosts = ATOLL_TRY_CONTEXT(expand_nodelist(text), name);
  if (hosts.size() != static_cast<size_t>(place.nodes)) {
    return refuse(fmt::format(
        "Slurm: {}=\"{}\" names {} hosts, not {}", name, shown(text), hosts.size(), place.nodes));
  }
  return hosts.front();
}

}  // namespace

Found from_slurm(const Clues& clues) {
  const Variables& variables = clues.variables;
  const Step step = find_step(variables);
  if (step.job.empty() || !step.number) return std::nullopt;
  if (parse_number(variables.text("SLURM_HET_SIZE"), 2, INT64_MAX)) {
    return fail(ErrorCode::kUnsupported,
                "this is a heterogeneous Slurm job",
                "use one component: every task must be able to be the other's peer");
  }
  Place place = clues.place(fmt::format("Slurm job {}, step {}", shown(step.job), *step.number));
  place.master_port = port_of_job(step.job, static_cast<int>(*step.number % 1000));
  const std::string_view size =
      variables.first_set({"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"});
  place.size = ATOLL_TRY(variables.number(kSource, size, 1, kMostTasks));
  place.rank = ATOLL_TRY(variables.number(kSource, "SLURM_PROCID", 0, place.size - 1));
  if (place.size == 1) return place;

  const std::string_view nodes =
      variables.first_set({"SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"});
  place.nodes = ATOLL_TRY(variables.number(kSource, nodes, 1, std::min(place.size, kMaxNodes)));
  place.node = ATOLL_TRY(variables.number(kSource, "SLURM_NODEID", 0, place.nodes - 1));
  place.local_size = ATOLL_TRY(tasks_here(variables, place));
  place.local_rank = ATOLL_TRY(variables.number(kSource, "SLURM_LOCALID", 0, place.local_size - 1));
  if (place.nodes > 1) place.master_host = ATOLL_TRY(first_host(variables, place));
  return place;
}

}  // namespace atl::job
