// What the launchers of a job's hosts say to one another: a line of JSON each, at most kMaxMessageBytes long.
// job/rendezvous.h says who says what when.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"

namespace atl::job {

inline constexpr size_t kMaxMessageBytes = 16 << 10;

inline constexpr int kSignalCode = 128;  // an exit code says "by signal N" as a shell does: 128 + N

// What a job has come through, which must outlive its leader: every host knows it.
struct JobHistory {
  uint64_t round = 0;     // the last one; they only grow
  int failures = 0;       // in a row, without a later step to go on from
  int64_t begun_at = -1;  // the latest step that a round went on from; -1: none has said so

  // A round has done its first step. Where that is later than those of all rounds before, failures count anew.
  void went_on(int64_t step) {
    if (step <= begun_at) return;
    begun_at = step;
    failures = 0;
  }
  bool operator==(const JobHistory&) const = default;
};

// How a round ended on a host.
struct HostEnding {
  int code = 0;            // as of `atoll launch`: of the first rank that failed
  bool by_signal = false;  // that rank was killed by one
  bool ordered = false;    // the ranks were told to end, and none had failed before
  std::string why;         // "rank 3 on gpu02 was killed by signal 9"; "" where nothing failed
  bool operator==(const HostEnding&) const = default;
};

// --- To the leader ---

struct JoinMessage {
  std::string token;  // of the lease: who knows it has read the place that the job shares
  std::string agent;  // no two launchers have the same
  std::string host;   // for people
  int node = -1;      // in its last round; -1: this is the first
  int ranks = 1;
  uint16_t port = 1;  // on which its rank would listen, were it rank 0
  JobHistory history;
  bool operator==(const JoinMessage&) const = default;
};
// Answered with the same number.
struct AliveMessage {
  uint64_t number = 0;
  bool operator==(const AliveMessage&) const = default;
};
// The first step that rank 0 has done in a round. The leader passes it on to the round's other hosts, because one of them may
// have to lead before the round is over.
struct StepMessage {
  uint64_t round = 0;
  int64_t step = 0;
  bool operator==(const StepMessage&) const = default;
};
struct EndedMessage {
  uint64_t round = 0;
  HostEnding ending;
  uint16_t port = 1;  // for the next round
  bool operator==(const EndedMessage&) const = default;
};
// A person, or a cluster, wants the job to stop.
struct StopMessage {
  int signal = 15;
  bool operator==(const StopMessage&) const = default;
};

// --- From the leader ---

struct BeginMessage {
  JobHistory history;  // with the round that begins
  int node = 0;
  int nodes = 1;
  int rank = 0;  // the first of this host's
  int size = 1;
  std::string master_host;  // "": the leader's own, as this host reaches it
  uint16_t master_port = 1;
  std::string line;  // for people
  bool operator==(const BeginMessage&) const = default;
};
struct EndMessage {
  uint64_t round = 0;
  int signal = 15;     // that the ranks get
  bool stops = false;  // the job is to stop
  std::string why;     // for people
  bool operator==(const EndMessage&) const = default;
};
struct OverMessage {
  int code = 0;
  std::string why;
  bool operator==(const OverMessage&) const = default;
};

using AgentMessage = std::variant<JoinMessage,
                                  AliveMessage,
                                  StepMessage,
                                  EndedMessage,
                                  StopMessage,
                                  BeginMessage,
                                  EndMessage,
                                  OverMessage>;

// With the line's end. Long texts are cut.
std::string to_line(const AgentMessage& message);
// Without it. kInvalidInput: no message; every number is within its bounds, and no text moves a cursor.
Result<AgentMessage> parse_message(std::string_view line);

}  // namespace atl::job
