#include "storage/cache/process_identity.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

namespace atl::storage {
namespace {

constexpr size_t kBootDigits = 32;

bool is_boot_id(std::string_view text) {
  return text.size() == kBootDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string read_boot_id() {
  std::string id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), id);
  std::erase(id, '-');
  return is_boot_id(id) ? id : "";
}

// proc(5): "PID (NAME) STATE …", the start time is field 22; the name may hold anything.
struct ProcessStatus {
  char state = 0;
  uint64_t started_ticks = 0;
};
std::optional<ProcessStatus> status_of(uint64_t pid) {
  std::string line;
  if (!std::getline(std::ifstream(fmt::format("/proc/{}/stat", pid)), line)) return std::nullopt;
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  ProcessStatus status;
  std::string skipped;
  fields >> status.state;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> status.started_ticks;
  return fields ? std::optional(status) : std::nullopt;
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string ProcessIdentity::text() const {
  return fmt::format("{}.{}.{}.{}", boot, pid_namespace, pid, started_ticks);
}

std::optional<ProcessIdentity> ProcessIdentity::parse(std::string_view text) {
  std::array<std::string_view, 4> parts;
  for (size_t i = 0; i < parts.size(); ++i) {
    const size_t dot = i + 1 < parts.size() ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return std::nullopt;
    parts[i] = text.substr(0, dot);
    text.remove_prefix(std::min(text.size(), dot + 1));
  }
  const auto pid_namespace = number(parts[1]);
  const auto pid = number(parts[2]);
  const auto started = number(parts[3]);
  if (!pid_namespace || !pid || !started || (!parts[0].empty() && !is_boot_id(parts[0]))) {
    return std::nullopt;
  }
  return ProcessIdentity{std::string(parts[0]), *pid_namespace, *pid, *started};
}

ProcessIdentity this_process() {
  ProcessIdentity self;
  self.pid = static_cast<uint64_t>(::getpid());
  struct stat status {};
  const auto in_proc = status_of(self.pid);
  // Without a /proc of this pid namespace there is no telling who lives.
  if (!in_proc || ::stat("/proc/self/ns/pid", &status) != 0) return self;
  self.boot = read_boot_id();
  self.pid_namespace = status.st_ino;
  self.started_ticks = in_proc->started_ticks;
  return self;
}

Alive is_alive(const ProcessIdentity& process, const ProcessIdentity& self) {
  if (process == self) return Alive::kYes;
  if (self.boot.empty() || process.boot != self.boot ||
      process.pid_namespace != self.pid_namespace) {
    return Alive::kUnknown;
  }
  const auto status = status_of(process.pid);
  const bool lives = status && status->started_ticks == process.started_ticks &&
                     status->state != 'Z' && status->state != 'X';
  return lives ? Alive::kYes : Alive::kNo;
}

}  // namespace atl::storage
