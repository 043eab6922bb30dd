#include "doctor/cgroup.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

namespace atl::doctor {
namespace {

using ReadFile = std::function<Result<std::string>(const std::string& path)>;

// Version 1 writes "no bound" as the largest number of pages; nobody has an exbibyte.
constexpr uint64_t kNoBound = uint64_t{1} << 60;

std::string_view word_at(std::string_view text, size_t index) {
  constexpr std::string_view kBlanks = " \t\n";
  for (;;) {
    const size_t begin = text.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return {};
    const size_t end = std::min(text.find_first_of(kBlanks, begin), text.size());
    if (index-- == 0) return text.substr(begin, end - begin);
    text.remove_prefix(end);
  }
}

std::optional<uint64_t> number(std::string_view word) {
  uint64_t value = 0;
  const char* const end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  if (error != std::errc() || stop != end || word.empty()) return std::nullopt;
  return value;
}

template <typename T>
void narrow(std::optional<T>& limit, std::optional<T> other) {
  if (other && (!limit || *other < *limit)) limit = other;
}

// "NAME 123" among the lines of memory.stat.
std::optional<uint64_t> statistic(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (word_at(line, 0) == name) return number(word_at(line, 1));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

class Group {
 public:
  Group(const ReadFile& read, std::string folder) : read_(read), folder_(std::move(folder)) {}

  std::string text(std::string_view file) const {
    return read_(fmt::format("{}/{}", folder_, file)).value_or("");
  }
  std::optional<uint64_t> value(std::string_view file) const {
    const auto found = number(word_at(text(file), 0));
    return found && *found < kNoBound ? found : std::nullopt;
  }

 private:
  const ReadFile& read_;
  const std::string folder_;
};

std::optional<double> share(std::optional<uint64_t> quota, std::optional<uint64_t> period) {
  if (!quota || !period || *period == 0 || *quota == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

void take_memory(CgroupLimits& limits,
                 const Group& group,
                 std::string_view bound_file,
                 std::string_view used_file,
                 std::string_view inactive_name) {
  const auto bound = group.value(bound_file);
  if (!bound || (limits.memory_bytes && *limits.memory_bytes <= *bound)) return;
  limits.memory_bytes = bound;
  const auto used = group.value(used_file);
  const uint64_t inactive = statistic(group.text("memory.stat"), inactive_name).value_or(0);
  limits.memory_used_bytes = std::nullopt;
  if (used) limits.memory_used_bytes = *used - std::min(*used, inactive);
}

void take_v2(CgroupLimits& limits, const Group& group) {
  const std::string cpu = group.text("cpu.max");  // "200000 100000", "max 100000"
  narrow(limits.cpus, share(number(word_at(cpu, 0)), number(word_at(cpu, 1))));
  take_memory(limits, group, "memory.max", "memory.current", "inactive_file");
  narrow(limits.processes, group.value("pids.max"));
}

void take_v1(CgroupLimits& limits, std::string_view controller, const Group& group) {
  if (controller == "cpu") {
    narrow(limits.cpus, share(group.value("cpu.cfs_quota_us"), group.value("cpu.cfs_period_us")));
  } else if (controller == "memory") {
    take_memory(
        limits, group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
  } else if (controller == "pids") {
    narrow(limits.processes, group.value("pids.max"));
  }
}

// "/a/b": itself, "/a", "".
std::vector<std::string> itself_and_above(std::string path) {
  std::vector<std::string> paths;
  while (!path.empty() && path != "/") {
    paths.push_back(path);
    path.resize(path.rfind('/'));
  }
  paths.emplace_back();
  return paths;
}

void take_line(CgroupLimits& limits, const ReadFile& read, std::string_view line) {
  // "0::/user.slice", "4:cpu,cpuacct:/docker/1f2e".
  const size_t first = line.find(':');
  const size_t second = line.find(':', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos) return;
  std::string_view controllers = line.substr(first + 1, second - first - 1);
  const std::string_view path = line.substr(second + 1);
  if (!path.starts_with('/')) return;
  for (const std::string& group : itself_and_above(std::string(path))) {
    if (controllers.empty()) {
      take_v2(limits, Group(read, "/sys/fs/cgroup" + group));
      continue;
    }
    for (std::string_view rest = controllers; !rest.empty();) {
      const std::string_view controller = rest.substr(0, rest.find(','));
      take_v1(
          limits, controller, Group(read, fmt::format("/sys/fs/cgroup/{}{}", controller, group)));
      rest.remove_prefix(std::min(controller.size() + 1, rest.size()));
    }
  }
}

}  // namespace

CgroupLimits read_cgroup_limits(const ReadFile& read) {
  CgroupLimits limits;
  const std::string groups = read("/proc/self/cgroup").value_or("");
  for (std::string_view rest = groups; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    take_line(limits, read, line);
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return limits;
}

}  // namespace atl::doctor
