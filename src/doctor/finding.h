// What `atoll doctor` has to say: findings, one line each.
//
// Every kind of finding has an id of its own that stays what it is, for scripts that read --json;
// docs/doctor.md tells what each one means, and a test holds the two against each other.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace atl::doctor {

enum class Severity {
  kOk,
  kNote,     // good to know: nothing is wrong, or it could not be looked at
  kWarning,  // slow, or fails under circumstances
  kFailure,  // what was asked for would fail
};

struct Finding {
  std::string_view id;  // one of finding_ids()
  Severity severity = Severity::kOk;
  std::string what;  // what is so, and on what
  std::string why;   // what comes of it; "" where that is plain
  std::string mend;  // a command, or what to change; "" where there is nothing to mend
};

// "ok", "note", "warning", "failure".
std::string_view severity_name(Severity severity);

// One line without its end, whatever control characters a server or a file name has brought along:
//   ✗ fuse.device       there is no /dev/fuse; "atoll fs mount" cannot work → modprobe fuse
// `unicode`: where not, ASCII stands for the three characters.
std::string line_of(const Finding& finding, bool unicode);

// An array of objects: id, severity, what, why, mend.
std::string json_of(std::span<const Finding> findings);

// Whether this locale writes UTF-8: of LC_ALL, LC_CTYPE and LANG the first that is set counts.
bool writes_unicode(std::string_view lc_all, std::string_view lc_ctype, std::string_view lang);

// 1 where something would fail, else 0.
int exit_code(std::span<const Finding> findings);

// All ids, in the order of docs/doctor.md.
std::span<const std::string_view> finding_ids();

// The name of each id in code.
namespace id {
// The machine.
inline constexpr std::string_view kCpu = "cpu";
inline constexpr std::string_view kCpuQuota = "cpu.quota";
inline constexpr std::string_view kMemory = "memory";
inline constexpr std::string_view kGpu = "gpu";
inline constexpr std::string_view kGpuDriver = "gpu.driver";
inline constexpr std::string_view kEngine = "engine";
inline constexpr std::string_view kGpuLibraries = "gpu.libraries";
inline constexpr std::string_view kRdma = "rdma";
inline constexpr std::string_view kOpenFiles = "limits.open_files";
inline constexpr std::string_view kProcesses = "limits.processes";
inline constexpr std::string_view kLockedMemory = "limits.locked_memory";
inline constexpr std::string_view kSharedMemory = "shared_memory";
inline constexpr std::string_view kDiskCache = "disk.cache";
inline constexpr std::string_view kDiskOut = "disk.out";
inline constexpr std::string_view kDiskTemporary = "disk.temporary";
inline constexpr std::string_view kData = "data";
inline constexpr std::string_view kFuseDevice = "fuse.device";
inline constexpr std::string_view kFuseHelper = "fuse.helper";
inline constexpr std::string_view kFuseOthers = "fuse.allow_other";
inline constexpr std::string_view kHostName = "host.name";
inline constexpr std::string_view kPorts = "ports";
inline constexpr std::string_view kClock = "clock";
// A bucket.
inline constexpr std::string_view kCredentials = "credentials";
inline constexpr std::string_view kBucket = "bucket";
inline constexpr std::string_view kBucketRegion = "bucket.region";
inline constexpr std::string_view kBucketList = "bucket.list";
inline constexpr std::string_view kBucketGet = "bucket.get";
inline constexpr std::string_view kBucketPut = "bucket.put";
inline constexpr std::string_view kBucketConditions = "bucket.conditions";
inline constexpr std::string_view kBucketMultipart = "bucket.multipart";
inline constexpr std::string_view kBucketDelete = "bucket.delete";
// A job's AWS side.
inline constexpr std::string_view kJobFile = "job.file";
inline constexpr std::string_view kSubnet = "network.subnet";
inline constexpr std::string_view kSecurityGroup = "network.security_group";
inline constexpr std::string_view kVpc = "network.vpc";
inline constexpr std::string_view kZone = "network.zone";
inline constexpr std::string_view kAddresses = "network.addresses";
inline constexpr std::string_view kLustrePorts = "network.lustre_ports";
inline constexpr std::string_view kEfaRules = "network.efa";
inline constexpr std::string_view kS3Route = "network.s3_route";
inline constexpr std::string_view kS3Egress = "network.s3_egress";
inline constexpr std::string_view kFileSystem = "file_system";
inline constexpr std::string_view kMountName = "file_system.mount_name";
inline constexpr std::string_view kAssociation = "file_system.association";
inline constexpr std::string_view kRole = "role";
inline constexpr std::string_view kRoleTrust = "role.trust";
inline constexpr std::string_view kRolePermissions = "role.permissions";
}  // namespace id

}  // namespace atl::doctor
