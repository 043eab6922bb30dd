// Names, ports and the clock.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/shell_word.h"
#include "doctor/machine_checks.h"
#include "doctor/text.h"
#include "job/place.h"

namespace atl::doctor {
namespace {

using SystemTime = std::chrono::system_clock::time_point;

// job::port_of_job() gives one of these.
constexpr uint64_t kFirstJobPort = 20000;
constexpr uint64_t kLastJobPort = 29999;

// AWS refuses a signature that is 15 minutes off.
constexpr std::chrono::minutes kRefusedSkew{15};
constexpr std::chrono::minutes kRiskySkew{5};
constexpr std::chrono::seconds kTolerableSkew{30};

constexpr const char* kSetClock = "sudo timedatectl set-ntp true";

bool is_loopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1";
}

std::string rounded(std::chrono::system_clock::duration skew) {
  return format_duration(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::abs(skew)));
}

}  // namespace

std::vector<Finding> host_name_findings(const Machine& machine, int hosts) {
  const std::string host = machine.host_name();
  const auto addresses = machine.resolve(host);
  Finding finding{.id = id::kHostName};
  const Severity bad = hosts > 1 ? Severity::kFailure : Severity::kNote;
  if (!addresses || addresses->empty()) {
    finding.severity = bad;
    finding.what = fmt::format("this host's name, {}, has no address", host);
    finding.why = "other hosts of a job cannot find rank 0 here by its name";
    finding.mend = fmt::format(
        "echo \"$(hostname -I | cut -d' ' -f1) {}\" | sudo tee -a /etc/hosts, or --rendezvous "
        "ADDRESS",
        shell_word(host));
    return {finding};
  }
  finding.what = fmt::format("{} is {}", host, fmt::join(*addresses, ", "));
  if (std::ranges::all_of(*addresses, is_loopback)) {
    finding.severity = hosts > 1 ? Severity::kWarning : Severity::kNote;
    finding.why =
        "only this host reaches itself there: other hosts need another name or the address";
    finding.mend = "atoll launch --rendezvous \"$(hostname -I | cut -d' ' -f1)\"";
  }
  return {finding};
}

std::vector<Finding> port_findings(const Machine& machine) {
  const std::string range = machine.read("/proc/sys/net/ipv4/ip_local_port_range").value_or("");
  const auto words = words_of(lines_of(range).empty() ? "" : lines_of(range).front());
  const auto first = words.empty() ? std::nullopt : number_of(words[0]);
  Finding finding{.id = id::kPorts};
  finding.what = fmt::format("jobs meet at ports {} to {}", kFirstJobPort, kLastJobPort);
  if (first && *first <= kLastJobPort) {
    finding.severity = Severity::kWarning;
    finding.what = fmt::format("the kernel gives out ports {} to {}", words[0], words.back());
    finding.why =
        fmt::format("one of {} to {}, where a job's ranks meet, may be taken when it starts",
                    kFirstJobPort,
                    kLastJobPort);
    finding.mend = "sudo sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"";
  } else if (!machine.can_listen(job::kDefaultMasterPort)) {
    finding.severity = Severity::kNote;
    finding.what = fmt::format("somebody listens at port {}", job::kDefaultMasterPort);
    finding.why = "a job that names no other would fail to start";
    finding.mend =
        fmt::format("ss -ltnp 'sport = :{}', or --rendezvous HOST:PORT", job::kDefaultMasterPort);
  }
  return {finding};
}

Finding clock_finding(SystemTime before,
                      SystemTime server,
                      SystemTime after,
                      std::string_view server_name) {
  // A Date has whole seconds, and the answer was made somewhere between the two times.
  SystemTime::duration skew{0};
  if (server + std::chrono::seconds(1) < before) {
    skew = before - server - std::chrono::seconds(1);
  } else if (server > after) {
    skew = after - server;
  }
  Finding finding{.id = id::kClock, .mend = kSetClock};
  finding.what = fmt::format("this clock is {} {} {}'s",
                             rounded(skew),
                             skew > SystemTime::duration::zero() ? "ahead of" : "behind",
                             server_name);
  const auto off = std::chrono::abs(skew);
  if (off > kRefusedSkew) {
    finding.severity = Severity::kFailure;
    finding.why = "AWS refuses signatures that are 15 minutes off, and certificates may not hold";
  } else if (off > kRiskySkew) {
    finding.severity = Severity::kFailure;
    finding.why = "AWS refuses signatures that are 15 minutes off; some servers refuse 5";
  } else if (off > kTolerableSkew) {
    finding.severity = Severity::kWarning;
    finding.why = "times of files and of metrics do not fit those of other machines";
  } else {
    finding.what = fmt::format("this clock agrees with {}'s", server_name);
    finding.mend.clear();
  }
  return finding;
}

Finding clock_finding(std::optional<bool> is_kept) {
  if (is_kept.value_or(false)) {
    return {id::kClock, Severity::kOk, "this clock is kept right", "", ""};
  }
  return {id::kClock,
          Severity::kNote,
          is_kept ? "the kernel does not know of anybody who keeps this clock right"
                  : "who keeps this clock right is not to be seen",
          "name a bucket, and the clock is held against its server's",
          is_kept ? kSetClock : ""};
}

}  // namespace atl::doctor
