#include "fs/mount_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <utility>

#include "base/bytes.h"

namespace atl::fs {
namespace {

constexpr int kDecimal = 10;
constexpr int kOctal = 8;
constexpr uint32_t kMostPermissions = 0777;

// For mount(8), systemd and the boot, not for us.
constexpr std::array<std::string_view, 14> kPassedOver = {"defaults",
                                                          "rw",
                                                          "auto",
                                                          "noauto",
                                                          "user",
                                                          "nouser",
                                                          "users",
                                                          "owner",
                                                          "nofail",
                                                          "group",
                                                          "_netdev",
                                                          "relatime",
                                                          "norelatime",
                                                          "nolazytime"};
// libfuse hands these to the kernel.
constexpr std::array<std::string_view, 11> kKernel = {"suid",
                                                      "nosuid",
                                                      "dev",
                                                      "nodev",
                                                      "exec",
                                                      "noexec",
                                                      "sync",
                                                      "async",
                                                      "dirsync",
                                                      "noatime",
                                                      "nodiratime"};

template <size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

tl::unexpected<Error> wrong(std::string_view key, std::string_view value, std::string_view wanted) {
  return fail(ErrorCode::kInvalidInput,
              fmt::format("mount option {}={}: it takes {}", key, value, wanted));
}

Result<uint32_t> number(std::string_view key, std::string_view value, int base) {
  uint32_t parsed = 0;
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, parsed, base);
  if (error == std::errc() && stop == end) return parsed;
  return wrong(key, value, base == kOctal ? "an octal number" : "a whole number");
}

template <typename T>
Result<void> choose(std::string_view key,
                    std::string_view value,
                    std::initializer_list<std::pair<std::string_view, T>> choices,
                    T& into) {
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (name == value) {
      into = choice;
      return {};
    }
    names += fmt::format("{}{}", names.empty() ? "" : " or ", name);
  }
  return wrong(key, value, names);
}

Result<void> set_imports(std::string_view key,
                         std::string_view value,
                         storage::ImportPolicy& into) {
  storage::ImportPolicy policy{false, false, false};
  for (std::string_view rest = value; !rest.empty() && value != "none";) {
    const size_t end = std::min(rest.find('+'), rest.size());
    const std::string_view word = rest.substr(0, end);
    if (word == "new") {
      policy.new_objects = true;
    } else if (word == "changed") {
      policy.changed_objects = true;
    } else if (word == "deleted") {
      policy.deleted_objects = true;
    } else {
      return wrong(key, value, "none, or some of new+changed+deleted");
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  into = policy;
  return {};
}

// Options with a value that is only kept.
std::string* text_of(MountSettings& settings, std::string_view key) {
  if (key == "state") return &settings.state_directory;
  if (key == "cache_dir") return &settings.cache_directory;
  if (key == "endpoint_url") return &settings.endpoint_url;
  if (key == "region") return &settings.region;
  if (key == "profile") return &settings.profile;
  if (key == "events") return &settings.events_queue;
  if (key == "log") return &settings.log_file;
  return nullptr;
}

bool* switch_of(MountSettings& settings, std::string_view key) {
  if (key == "ro") return &settings.read_only;
  if (key == "allow_other") return &settings.allow_other;
  if (key == "no_sign_request") return &settings.no_sign_request;
  return nullptr;
}

Result<void> set_value(MountSettings& settings, std::string_view key, std::string_view value) {
  if (std::string* const text = text_of(settings, key)) {
    *text = value;
    return {};
  }
  if (key == "uid") {
    settings.uid = ATOLL_TRY(number(key, value, kDecimal));
  } else if (key == "gid") {
    settings.gid = ATOLL_TRY(number(key, value, kDecimal));
  } else if (key == "umask") {
    settings.umask = ATOLL_TRY(number(key, value, kOctal));
    if (settings.umask > kMostPermissions) return wrong(key, value, "an octal number up to 777");
  } else if (key == "cache_size") {
    settings.cache_bytes = ATOLL_TRY(parse_bytes(value));
  } else if (key == "import_interval") {
    settings.import_interval = std::chrono::seconds(ATOLL_TRY(number(key, value, kDecimal)));
  } else if (key == "max_age") {
    settings.max_age = std::chrono::seconds(ATOLL_TRY(number(key, value, kDecimal)));
  } else if (key == "import") {
    return set_imports(key, value, settings.imports);
  } else if (key == "export") {
    return choose<ExportPolicy>(
        key,
        value,
        {{"close", ExportPolicy::kOnClose}, {"demand", ExportPolicy::kOnDemand}},
        settings.exports);
  } else if (key == "conflict") {
    return choose<ConflictPolicy>(key,
                                  value,
                                  {{"s3-wins", ConflictPolicy::kRemoteWins},
                                   {"local-wins", ConflictPolicy::kLocalWins},
                                   {"keep-both", ConflictPolicy::kKeepBoth}},
                                  settings.conflicts);
  } else if (key == "metadata") {
    return choose<PosixMetadata>(key,
                                 value,
                                 {{"auto", PosixMetadata::kAuto},
                                  {"always", PosixMetadata::kAlways},
                                  {"never", PosixMetadata::kNever}},
                                 settings.metadata);
  } else if (key == "fsync") {
    return choose<bool>(key, value, {{"local", false}, {"s3", true}}, settings.fsync_to_bucket);
  } else {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("unknown mount option {}", key),
                "\"atoll fs mount --help\" lists them");
  }
  return {};
}

}  // namespace

const std::vector<MountOption>& mount_options() {
  static const std::vector<MountOption> options = {
      {"ro", "", "Show the bucket, change nothing"},
      {"allow_other", "", "Let other users in, too"},
      {"uid", "N", "Owner of what carries no metadata (0)"},
      {"gid", "N", "Group of what carries no metadata (0)"},
      {"umask", "OCTAL", "Permissions that such files lack (022)"},
      {"metadata", "WHEN", "Ask for FSx's metadata keys: auto, always, never"},
      {"export", "WHEN", "Write changes to the bucket at close, or on demand"},
      {"conflict", "POLICY", "Changed here and in the bucket: keep-both, s3-wins, local-wins"},
      {"fsync", "WHERE", "What fsync(2) waits for: local, s3"},
      {"import", "WHAT", "Take over of the bucket's changes: new+changed+deleted, none"},
      {"import_interval", "S", "Seconds between imports (60); 0: only at the start"},
      {"events", "QUEUE_URL", "SQS queue that S3 tells of changes: they show at once"},
      {"max_age", "S", "Seconds for which a name is believed without asking (60)"},
      {"state", "DIR", "Directory of the journal and of changed files"},
      {"log", "FILE", "Log of the daemon (atoll.log in the state directory)"},
  };
  return options;
}

Result<void> apply_mount_option(MountSettings& settings, std::string_view option) {
  const size_t equals = option.find('=');
  const std::string_view key = option.substr(0, equals);
  if (key.empty() || key.starts_with("x-") || key == "comment" || contains(kPassedOver, key)) {
    return {};
  }
  if (equals != std::string_view::npos) return set_value(settings, key, option.substr(equals + 1));
  if (bool* const flag = switch_of(settings, key)) {
    *flag = true;
  } else if (contains(kKernel, key)) {
    settings.kernel_options.emplace_back(key);
  } else {
    return set_value(settings, key, {});
  }
  return {};
}

std::vector<std::string> split_mount_options(std::string_view list) {
  std::vector<std::string> options(1);
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '\\' && i + 1 < list.size() && (list[i + 1] == ',' || list[i + 1] == '\\')) {
      options.back() += list[++i];
    } else if (list[i] == ',') {
      options.emplace_back();
    } else {
      options.back() += list[i];
    }
  }
  std::erase(options, "");
  return options;
}

}  // namespace atl::fs
