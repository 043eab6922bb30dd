#include "job/launch.h"

#include "job/agent_channel.h"
#include "job/launch_signals.h"
#include "job/merged_output.h"
#include "job/rank_round.h"

namespace atl::job {

Result<LaunchOutcome> launch(const LaunchOptions& options) {
  LaunchOptions settled = options;
  Listener listener;
  // A port for a job of this host alone need not be known elsewhere.
  if (settled.place.nodes == 1 && !settled.place.port_is_given) {
    listener = ATOLL_TRY(listen_anywhere());
    settled.place.master_port = listener.port;
  }
  auto signals = ATOLL_TRY(LaunchSignals::start());
  MergedOutput output(options.out, options.err);
  RoundEnd end =
      ATOLL_TRY(run_round(settled, signals, output, std::move(listener), /*orders=*/nullptr));
  if (!end.forced) drain_output(output, signals);
  LaunchOutcome outcome;
  outcome.exit_code = end.exit_code;
  outcome.last_lines = std::move(end.last_lines);
  outcome.how_it_ended = std::move(end.why);
  outcome.output_error = output.error();
  return outcome;
}

}  // namespace atl::job
