#include "doctor/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/utf8.h"

namespace atl::doctor {
namespace {

constexpr auto kIds = std::to_array<std::string_view>({
    id::kCpu,
    id::kCpuQuota,
    id::kMemory,
    id::kEngine,
    id::kGpu,
    id::kGpuDriver,
    id::kGpuLibraries,
    id::kRdma,
    id::kLockedMemory,
    id::kOpenFiles,
    id::kProcesses,
    id::kSharedMemory,
    id::kData,
    id::kDiskCache,
    id::kDiskOut,
    id::kDiskTemporary,
    id::kFuseDevice,
    id::kFuseHelper,
    id::kFuseOthers,
    id::kHostName,
    id::kPorts,
    id::kClock,
    id::kCredentials,
    id::kBucket,
    id::kBucketRegion,
    id::kBucketList,
    id::kBucketGet,
    id::kBucketPut,
    id::kBucketConditions,
    id::kBucketMultipart,
    id::kBucketDelete,
    id::kJobFile,
    id::kSubnet,
    id::kSecurityGroup,
    id::kVpc,
    id::kZone,
    id::kAddresses,
    id::kLustrePorts,
    id::kEfaRules,
    id::kS3Route,
    id::kS3Egress,
    id::kFileSystem,
    id::kMountName,
    id::kAssociation,
    id::kRole,
    id::kRoleTrust,
    id::kRolePermissions,
});

constexpr size_t longest_id() {
  size_t longest = 0;
  for (const std::string_view id : kIds) longest = std::max(longest, id.size());
  return longest;
}

std::string_view mark_of(Severity severity, bool unicode) {
  switch (severity) {
    case Severity::kOk:
      return unicode ? "✓" : "ok  ";
    case Severity::kNote:
      return unicode ? "·" : "note";
    case Severity::kWarning:
      return unicode ? "!" : "warn";
    case Severity::kFailure:
      break;
  }
  return unicode ? "✗" : "FAIL";
}

}  // namespace

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kFailure:
      break;
  }
  return "failure";
}

std::string line_of(const Finding& finding, bool unicode) {
  std::string line = fmt::format("{} {:{}} {}",
                                 mark_of(finding.severity, unicode),
                                 finding.id,
                                 longest_id() + 1,
                                 finding.what);
  if (!finding.why.empty()) line += "; " + finding.why;
  line = printable(line, unicode);
  if (!finding.mend.empty()) {
    line += (unicode ? " → " : " -> ") + printable(finding.mend, unicode);
  }
  return line;
}

std::string json_of(std::span<const Finding> findings) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    array.push_back({{"id", finding.id},
                     {"severity", severity_name(finding.severity)},
                     {"what", finding.what},
                     {"why", finding.why},
                     {"mend", finding.mend}});
  }
  return array.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

bool writes_unicode(std::string_view lc_all, std::string_view lc_ctype, std::string_view lang) {
  std::string name(!lc_all.empty() ? lc_all : !lc_ctype.empty() ? lc_ctype : lang);
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return name.find("utf-8") != std::string::npos || name.find("utf8") != std::string::npos;
}

int exit_code(std::span<const Finding> findings) {
  return std::ranges::any_of(findings,
                             [](const Finding& one) { return one.severity == Severity::kFailure; })
             ? 1
             : 0;
}

std::span<const std::string_view> finding_ids() { return kIds; }

}  // namespace atl::doctor
