// atoll launch: the ranks of this host.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "base/own_program.h"
#include "cli/command.h"
#include "job/launch.h"
#include "job/place.h"
#include "job/rendezvous.h"
#include "job/variables.h"

namespace atl::cli {
namespace {

constexpr const char* kFooter =
    "Starts one process for each GPU, or -n of them, and ends them together. What stands behind -- "
    "is\n"
    "a command of atoll's, or any program with --exec. Rank 0 prints as it would alone and draws "
    "the\n"
    "progress bar; the lines of rank R begin with [R]. Ctrl-C and SIGTERM reach every rank once; a "
    "second\n"
    "one, or --grace seconds, kill what still runs. When a rank fails the others are stopped, and "
    "what it\n"
    "said comes last. eval and predict are for one process, and refuse to be one of several: train "
    "evaluates\n"
    "over all ranks by itself.\n"
    "\n"
    "Started once on each host by SageMaker, srun, AWS Batch, Kubeflow or a JobSet, it finds the "
    "other\n"
    "hosts by itself; elsewhere --nodes, --node and --rendezvous name them.\n"
    "\n"
    "Examples:\n"
    "  Two processes on this machine:\n"
    "    atoll launch -n 2 -- train --preset tiny --data shapes --out runs/shapes\n"
    "  Two machines; the same on the other one with --node 1:\n"
    "    atoll launch --nodes 2 --node 0 --rendezvous gpu01:29500 -- train --config run.toml\n"
    "  Slurm, on four nodes:\n"
    "    srun -N 4 --ntasks-per-node=1 atoll launch -- train --config run.toml\n"
    "  Two processes that are started again from the last checkpoint when one is killed:\n"
    "    atoll launch -n 2 --max-restarts 3 -- train --config run.toml\n"
    "  Three or four machines, the same on each; the job goes on when one is lost or replaced:\n"
    "    atoll launch --nnodes 3:4 --rendezvous-dir s3://bucket/runs/r1/hosts -- train --config "
    "run.toml\n"
    "  Another program, which reads RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT:\n"
    "    atoll launch -n 4 --exec -- ./allreduce_test\n"
    "\n"
    "Exit code: that of the first rank that failed, or 128 + the signal that ended it.";

constexpr double kMostSeconds = 1e6;
constexpr double kLeastSilence_s = 1;
constexpr int kUsualRestarts = 3;

struct LaunchCommand {
  std::vector<std::string> command;
  std::optional<int> ranks;
  std::optional<int> nodes;
  std::optional<int> node;
  std::string rendezvous;
  std::string bind = "cores";
  double grace_s = 30;
  bool exec = false;
  std::string hosts;  // "MIN:MAX"
  std::optional<int> max_restarts;
  std::string place;
  double silence_s = 20;
  double join_timeout_s = 600;

  bool goes_on() const { return !hosts.empty() || max_restarts.has_value(); }
};

Result<job::Place> find_launch_place(const LaunchCommand& command) {
  const job::PlaceSources sources = job::this_machine();
  job::PlaceFlags flags{command.ranks, command.nodes, command.node, command.rendezvous};
  if (!flags.local_size) {
    // What the surroundings say (PET_NPROC_PER_NODE), else one for each GPU.
    const job::Place place = ATOLL_TRY(job::find_place(flags, sources));
    flags.local_size =
        place.local_rank && sources.accelerators > 0 ? sources.accelerators : place.local_size;
  }
  return job::find_place(flags, sources);
}

Result<std::chrono::milliseconds> seconds_of(const char* option, double seconds, double least) {
  if (!std::isfinite(seconds) || seconds < least || seconds > kMostSeconds) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format(
            "{} is not a number of seconds from {:g} to {:.0f}", option, least, kMostSeconds));
  }
  return std::chrono::milliseconds(std::llround(seconds * 1000));
}

// "3:4", or "3" for 3:3.
Result<std::pair<int, int>> read_hosts(std::string_view text) {
  const size_t colon = text.find(':');
  const auto least = job::parse_number(text.substr(0, colon), 1, job::kMaxNodes);
  const auto most = colon == std::string_view::npos
                        ? least
                        : job::parse_number(text.substr(colon + 1), 1, job::kMaxNodes);
  if (!least || !most || *least > *most) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("--nnodes {} is not MIN:MAX, two numbers of hosts", job::shown(text)),
                "write 3:4, or 3 where all of them are needed");
  }
  return std::pair(static_cast<int>(*least), static_cast<int>(*most));
}

// What a job that goes on after failures needs beside the ranks' own options.
Result<job::HostAgentOptions> read_agent(const LaunchCommand& command, const job::Place& place) {
  job::HostAgentOptions agent;
  job::JobLimits& limits = agent.limits;
  limits.max_restarts = command.max_restarts.value_or(kUsualRestarts);
  limits.silence = ATOLL_TRY(seconds_of("--silence", command.silence_s, kLeastSilence_s));
  // The lease of a leader that is lost runs out after --silence; nobody can follow it sooner.
  limits.join_timeout =
      ATOLL_TRY(seconds_of("--join-timeout", command.join_timeout_s, 2 * command.silence_s));
  agent.place = command.place;
  agent.host = place.host;
  agent.ranks = place.local_size;
  agent.interface = place.network_interface;
  if (agent.interface.empty()) {
    agent.interface = job::this_machine().variable("GLOO_SOCKET_IFNAME").value_or("");
  }
  if (!command.hosts.empty()) {
    std::tie(limits.min_hosts, limits.max_hosts) = ATOLL_TRY(read_hosts(command.hosts));
  } else if (place.nodes > 1) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("--max-restarts for {} hosts needs --nnodes MIN:MAX and "
                            "--rendezvous-dir",
                            place.nodes),
                "the hosts must find each other anew when one is lost, without one that may never "
                "fail");
  }
  if (limits.max_hosts > 1 && agent.place.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "several hosts need --rendezvous-dir, where they find each other",
                "name a directory that all hosts see, or s3://BUCKET/PREFIX; below the run's "
                "output is a good place");
  }
  if (limits.max_hosts == 1 && !agent.place.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "--rendezvous-dir is for several hosts, and this job has one",
                command.hosts.empty() ? "say how many with --nnodes MIN:MAX"
                                      : "leave it out, or name more hosts with --nnodes MIN:MAX");
  }
  return agent;
}

Result<job::LaunchOutcome> launch_in_rounds(const job::HostAgentOptions& agent,
                                            job::LaunchOptions& options) {
  using std::chrono::ceil;
  using std::chrono::seconds;
  // An earlier rank 0 that is cut off is killed by its launcher within this time; and a claim on a bucket whose
  // holder is dead is taken over after a minute (storage/cache/bucket_claim.h).
  constexpr seconds kClaimExpiry{90};
  options.output_wait = ceil<seconds>(options.failure_grace + agent.limits.silence) + kClaimExpiry;
  return job::launch_rounds(options, [&] {
    return agent.limits.max_hosts == 1
               ? job::rendezvous_of_one(agent.limits, agent.host, agent.ranks)
               : job::join_hosts(agent);
  });
}

Result<int> run_launch(const LaunchCommand& command) {
  job::LaunchOptions options;
  options.grace = ATOLL_TRY(seconds_of("--grace", command.grace_s, 0));
  // Whom a failure ends has a checkpoint to write, too.
  options.failure_grace = std::max(options.failure_grace, options.grace);
  if (!command.hosts.empty() && (command.nodes || command.node || !command.rendezvous.empty())) {
    return fail(ErrorCode::kInvalidInput,
                "--nnodes is for hosts that find each other, --nodes, --node and --rendezvous "
                "for hosts that are told their place",
                "give the one or the other");
  }
  options.place = ATOLL_TRY(find_launch_place(command));
  options.command = command.command;
  if (!command.exec) {
    std::string program = ATOLL_TRY(own_program());
    options.command.insert(options.command.begin(), std::move(program));
  }
  options.hand_over_listener = !command.exec;
  options.environment = job::own_environment();
  options.bind_cpus = command.bind == "cores";
  if (!command.goes_on() && !command.place.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "--rendezvous-dir is for hosts that find each other",
                "say how many with --nnodes MIN:MAX");
  }
  std::optional<job::HostAgentOptions> agent;
  if (command.goes_on()) agent = ATOLL_TRY(read_agent(command, options.place));
  if (!options.place.note.empty()) fmt::print(stderr, "atoll: {}\n", options.place.note);
  std::fflush(nullptr);
  const auto launched = agent ? launch_in_rounds(*agent, options) : job::launch(options);
  if (!launched) return tl::unexpected(launched.error());
  if (launched->output_error != 0) {
    auto failure = fail_errno("writing what the ranks print", launched->output_error);
    if (launched->exit_code == 0) return failure;
  }
  return launched->exit_code;
}

}  // namespace

void add_launch(CLI::App& app, CommandContext& context) {
  const auto options = std::make_shared<LaunchCommand>();
  CLI::App* command =
      app.add_subcommand("launch", "Run a command as several processes, on one or many machines");
  command->add_option("COMMAND", options->command, "Behind --: what each process runs")
      ->required()
      ->type_name("");
  command->add_option("-n", options->ranks, "Processes on this host [one for each GPU, or 1]")
      ->type_name("N")
      ->check(whole_number(1));
  command->add_option("--nodes", options->nodes, "Hosts of the job")
      ->type_name("N")
      ->check(whole_number(1));
  command->add_option("--node", options->node, "Which of them this is, from 0 on")
      ->type_name("I")
      ->check(whole_number());
  command
      ->add_option(
          "--rendezvous", options->rendezvous, "Where the ranks meet: a port on the host of node 0")
      ->type_name("HOST:PORT");
  command
      ->add_option("--bind",
                   options->bind,
                   "cores: an own share of the processors for each process; none: all share all")
      ->type_name("HOW")
      ->check(CLI::IsMember({"cores", "none"}))
      ->capture_default_str();
  command
      ->add_option("--grace",
                   options->grace_s,
                   "Seconds from a signal to the end; SageMaker gives 120, Kubernetes 30")
      ->type_name("S")
      ->capture_default_str();
  command
      ->add_option("--nnodes",
                   options->hosts,
                   "Hosts of a job that goes on, from the last checkpoint, when one is lost or "
                   "replaced")
      ->type_name("MIN:MAX");
  command
      ->add_option("--rendezvous-dir",
                   options->place,
                   "Where those hosts find each other: a shared directory or s3://BUCKET/PREFIX")
      ->type_name("DIR");
  command
      ->add_option("--max-restarts",
                   options->max_restarts,
                   "Failures in a row that came no further before the job is given up [3]")
      ->type_name("N")
      ->check(whole_number());
  command
      ->add_option("--silence",
                   options->silence_s,
                   "Seconds without a sign of life after which a host is lost")
      ->type_name("S")
      ->capture_default_str();
  command->add_option("--join-timeout", options->join_timeout_s, "Seconds to wait for MIN hosts")
      ->type_name("S")
      ->capture_default_str();
  command->add_flag("--exec", options->exec, "COMMAND is a program of its own");
  command->footer(kFooter);
  context.on_run(command, [options] { return run_launch(*options); });
}

}  // namespace atl::cli
