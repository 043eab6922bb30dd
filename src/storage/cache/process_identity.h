// Which process this is, so that another one, now or after a restart, can tell whether it still lives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atl::storage {

struct ProcessIdentity {
  // A process id means something only within one boot of one machine and one pid namespace, and is used
  // again; with the time it was started at, it is not.
  std::string boot;  // the kernel's boot id, 32 hexadecimal digits; "": not known
  uint64_t pid_namespace = 0;
  uint64_t pid = 0;
  uint64_t started_ticks = 0;  // after the boot

  // "BOOT.NAMESPACE.PID.STARTED", fit for a file name.
  std::string text() const;
  static std::optional<ProcessIdentity> parse(std::string_view text);
  bool operator==(const ProcessIdentity&) const = default;
};

ProcessIdentity this_process();

enum class Alive { kYes, kNo, kUnknown };
// kUnknown: it is another machine's, or another container's.
Alive is_alive(const ProcessIdentity& process, const ProcessIdentity& self);

}  // namespace atl::storage
