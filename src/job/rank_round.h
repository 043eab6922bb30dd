// One run of this host's ranks, from their start until the last one has ended and been read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "job/agent_channel.h"
#include "job/launch.h"
#include "job/launch_signals.h"
#include "job/merged_output.h"

namespace atl::job {

// What may tell the ranks to end, beside their own failures and the signals of this process.
class RoundOrders {
 public:
  struct End {
    int signal = 15;
    bool stops =
        false;  // the job is to stop; otherwise what the ranks say of their end does not matter
    std::string why;
  };

  virtual ~RoundOrders() = default;
  virtual int fd() const = 0;  // readable while next() has something
  virtual std::optional<End> next() = 0;
  virtual void signalled(int number) = 0;  // somebody wants the job to stop, here
  virtual void began(int64_t step) = 0;    // rank 0, which is ours, has done its first step
};

struct RoundEnd {
  int exit_code = 0;       // as LaunchOutcome's
  bool by_signal = false;  // the first rank that failed was killed by one
  bool ordered = false;    // told to end by RoundOrders before any had failed
  std::string why;         // "rank 1 on gpu01 was killed by signal 9"; "" where none failed
  std::vector<std::string> last_lines;  // of the rank that failed first, on its standard error
  bool forced = false;                  // by a second signal
};

// `signals` and `output` outlive the round. `listener`: where rank 0, if it is here, is to be found. Errors: a rank cannot be
// started; those that run already are killed.
Result<RoundEnd> run_round(const LaunchOptions& options,
                           LaunchSignals& signals,
                           MergedOutput& output,
                           Listener listener,
                           RoundOrders* orders);

// When all is over: waits until what the ranks have said is written, or for a signal that asks for the end.
void drain_output(MergedOutput& output, LaunchSignals& signals);

}  // namespace atl::job
