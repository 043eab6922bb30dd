// What a mount needs. Source: fusermount3(1), fuse(8), /etc/fuse.conf.
#include <fmt/format.h>

#include <algorithm>

#include "base/shell_word.h"
#include "doctor/machine_checks.h"
#include "doctor/text.h"

namespace atl::doctor {
namespace {

Finding device_finding(const Machine& machine, Severity severity) {
  constexpr const char* kDevice = "/dev/fuse";
  if (!machine.exists(kDevice)) {
    return {id::kFuseDevice,
            severity,
            "there is no /dev/fuse",
            "\"atoll fs mount\" cannot work",
            "modprobe fuse; in a container docker run --device /dev/fuse --cap-add SYS_ADMIN"};
  }
  const auto opened = machine.open_device(kDevice);
  if (opened) return {id::kFuseDevice, Severity::kOk, kDevice, "", ""};
  const bool is_forbidden = opened.error().code == ErrorCode::kPermission;
  return {id::kFuseDevice,
          severity,
          opened.error().message,
          is_forbidden ? "it is not for this user" : "\"atoll fs mount\" cannot work",
          is_forbidden && !machine.is_root()
              ? "sudo chmod 666 /dev/fuse"
              : "modprobe fuse; in a container docker run --device /dev/fuse --cap-add SYS_ADMIN"};
}

Finding helper_finding(const Machine& machine, Severity severity) {
  const std::string helper = machine.find_program("fusermount3");
  if (machine.is_root()) {
    return {id::kFuseHelper, Severity::kOk, "root mounts without fusermount3", "", ""};
  }
  if (helper.empty()) {
    return {id::kFuseHelper,
            severity,
            "there is no fusermount3",
            "only root can mount without it",
            "sudo apt-get install fuse3"};
  }
  if (!machine.is_setuid_root(helper)) {
    return {id::kFuseHelper,
            severity,
            helper + " does not run as root",
            "only root can mount with it",
            "sudo chown root " + shell_word(helper) + " && sudo chmod u+s " + shell_word(helper)};
  }
  return {id::kFuseHelper, Severity::kOk, helper, "", ""};
}

Finding others_finding(const Machine& machine) {
  const std::string settings = machine.read("/etc/fuse.conf").value_or("");
  const bool is_allowed = std::ranges::any_of(lines_of(settings), [](std::string_view line) {
    const auto words = words_of(line);
    return !words.empty() && words[0] == "user_allow_other";
  });
  if (is_allowed || machine.is_root()) {
    return {id::kFuseOthers, Severity::kOk, "mounts may be shown to other users", "", ""};
  }
  return {id::kFuseOthers,
          Severity::kNote,
          "a mount shows to its own user only",
          "--allow-other would be refused",
          "echo user_allow_other | sudo tee -a /etc/fuse.conf"};
}

}  // namespace

std::vector<Finding> fuse_findings(const Machine& machine, bool mounts) {
  const Severity severity = mounts ? Severity::kFailure : Severity::kWarning;
  std::vector<Finding> findings = {device_finding(machine, severity)};
  if (findings.front().severity != Severity::kOk && !machine.exists("/dev/fuse")) return findings;
  findings.push_back(helper_finding(machine, severity));
  findings.push_back(others_finding(machine));
  return findings;
}

}  // namespace atl::doctor
