// How the hosts of a job agree upon its rounds. A round is one run of all ranks, from their start to the end of the last
// one; when a rank or a host fails another follows, with the hosts that are left or their replacements, and the ranks go on
// from the last checkpoint by themselves.
//
// Each host has a launcher, and in it an agent. Agents find a leader among themselves by a lease in a place that all
// share and that outlives each of them (job/lease.h), and keep a connection to it (job/agent_message.h); the leader, which
// is a host like the others, decides (job/round_leader.h). What an agent does:
//
//   SEEKING   looks who holds the lease, and connects there; takes the lease where nobody renews it
//   JOINED    has told the leader that its ranks can start; waits for a round
//   IN ROUND  its ranks run. They end by themselves, or are told to; then JOINED again
//   OVER      the leader has said how the job ended
//
// When something breaks:
//   - A connection that closes is a launcher that died, and the kernel has killed its ranks with it.
//   - A host that is cut off, down or stopped closes nothing. The leader gives it up after `silence` without a sign of
//     life. The host itself counts from its last sign of life that was answered, and kills its ranks after three
//     quarters of that time: so they are dead before anybody starts others in their place.
//   - The leader dies: its lease runs out, and another takes it, and counts on from what the hosts know (JobHistory). One that is cut off from the others finds itself with
//     fewer hosts than it should have, ends its ranks and resigns, so that one of the others can lead them.
//   - Hosts without a leader's connection run nothing; two leaders at a time there are not.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/error.h"
#include "job/agent_message.h"
#include "job/round_leader.h"

namespace atl::job {

// What a launcher is to do; for the ranks of which round is in the messages.
struct SayOrder {
  std::string text;
};
using Order = std::variant<BeginMessage, EndMessage, OverMessage, SayOrder>;

// The launcher's side of an agent. Used by one thread.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;

  // Readable while next() has something.
  virtual int fd() const = 0;
  virtual std::optional<Order> next() = 0;
  // No ranks run here, and they can start; were rank 0 among them, it would listen on `port`. To be said first of all, and,
  // with how they ended, whenever a round's ranks have.
  virtual void ready(uint16_t port, const std::optional<HostEnding>& ending) = 0;
  // The first step that rank 0, which is ours, has done.
  virtual void began(int64_t step) = 0;
  // Somebody wants the job to stop.
  virtual void stop(int signal) = 0;
};

// Of a job of this host alone: no place, no connections.
Result<std::unique_ptr<Rendezvous>> rendezvous_of_one(const JobLimits& limits,
                                                      const std::string& host,
                                                      int ranks);

struct HostAgentOptions {
  JobLimits limits;
  std::string place;      // DIR or s3://BUCKET/PREFIX, the same for all hosts of the job
  std::string host;       // for people
  std::string interface;  // whose addresses the others are told; "": of all
  int ranks = 1;
};
// Errors: the place cannot be opened; there is no address or no port to be had.
Result<std::unique_ptr<Rendezvous>> join_hosts(const HostAgentOptions& options);

}  // namespace atl::job
