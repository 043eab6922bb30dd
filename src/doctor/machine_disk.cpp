// Places that are read and written.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/shell_word.h"
#include "doctor/machine_checks.h"
#include "fs/mount_point.h"

namespace atl::doctor {
namespace {

constexpr std::chrono::duration<double> kSlowSync{0.5};
constexpr uint64_t kFewFiles = 1000;

bool is_one_of(std::string_view kind, std::initializer_list<std::string_view> kinds) {
  return std::ranges::count(kinds, kind) > 0;
}

std::string kind_of_file_system(const Machine& machine, const std::string& directory) {
  const auto mount =
      fs::mount_of(fs::parse_mounts(machine.read("/proc/self/mountinfo").value_or("")), directory);
  return mount ? mount->type : "";
}

void judge_kind(const DiskUse& use, std::string_view kind, Finding& finding) {
  if (is_one_of(kind, {"tmpfs", "ramfs"})) {
    finding.severity = use.keeps ? Severity::kWarning : Severity::kNote;
    finding.why = "that is memory: what lies there is missing elsewhere, and gone after a restart";
    finding.mend = use.elsewhere;
  } else if (kind == "overlay" && use.keeps) {
    finding.severity = Severity::kNote;
    finding.why = "that is the container's own layer: slow to write, and gone with the container";
    finding.mend = fmt::format("docker run -v {}:{}", shell_word(use.path), shell_word(use.path));
  }
}

void judge_space(const DiskUse& use, const DiskSpace& space, Finding& finding) {
  const auto complain = [&](bool is_fatal, std::string why) {
    Severity severity = is_fatal ? Severity::kFailure : Severity::kWarning;
    if (use.gives_way) severity = is_fatal ? Severity::kWarning : Severity::kNote;
    if (severity < finding.severity) return;
    finding.severity = severity;
    finding.why = std::move(why);
    finding.mend = fmt::format(
        "du -xh --max-depth=2 {} | sort -h | tail, or {}", shell_word(use.path), use.elsewhere);
  };
  if (space.free_bytes < use.wanted_bytes) {
    complain(space.free_bytes < use.wanted_bytes / 10,
             fmt::format("{} wants {}", use.name, format_bytes(use.wanted_bytes)));
  }
  if (space.counts_files && space.free_files < kFewFiles) {
    complain(space.free_files == 0,
             fmt::format("room for {} more files (inodes)", space.free_files));
  }
}

}  // namespace

std::vector<Finding> disk_findings(const Machine& machine, const DiskUse& use) {
  const std::string directory = machine.existing_part(use.path);
  Finding finding{.id = use.id};
  const auto space = machine.space(directory);
  const auto took = machine.try_writing(directory);
  if (!took || !space) {
    const Error& error = took ? space.error() : took.error();
    finding.severity = Severity::kFailure;
    finding.what = fmt::format("{}, {}: {}", use.name, use.path, error.to_string());
    finding.mend = fmt::format("ls -ld {}; {}", shell_word(directory), use.elsewhere);
    return {finding};
  }
  const std::string kind = kind_of_file_system(machine, directory);
  finding.what = fmt::format("{}: {} free in {}{}{}",
                             use.name,
                             format_bytes(space->free_bytes),
                             use.path,
                             kind.empty() ? "" : " on ",
                             kind);
  judge_kind(use, kind, finding);
  judge_space(use, *space, finding);
  if (*took > kSlowSync && finding.severity < Severity::kWarning) {
    finding.severity = Severity::kWarning;
    finding.why =
        fmt::format("writing 64 KiB and waiting for the disk took {}", format_duration(*took));
    finding.mend = use.elsewhere;
  }
  return {finding};
}

std::vector<Finding> data_findings(const Machine& machine, const std::string& directory) {
  const auto names = machine.names_in(directory);
  if (names.empty()) {
    return {{id::kData,
             Severity::kFailure,
             machine.exists(directory) ? fmt::format("{} is empty, or not ours to read", directory)
                                       : fmt::format("{} is not there", directory),
             "",
             "ls -ld " + shell_word(directory)}};
  }
  const std::string kind = kind_of_file_system(machine, machine.existing_part(directory));
  Finding finding{.id = id::kData, .what = directory};
  if (!kind.empty()) finding.what += " on " + kind;
  return {finding};
}

}  // namespace atl::doctor
