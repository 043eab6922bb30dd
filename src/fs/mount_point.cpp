#include "fs/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

namespace atl::fs {
namespace {

constexpr std::string_view kBusyHint =
    "\"fuser -vm DIR\" shows who uses it; --lazy unmounts when they are done";

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    if (end > 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// Space, tab, newline and backslash stand as \040 and the like.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      const int code = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      plain += static_cast<char>(code);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// 36 35 0:47 / /mnt/data rw,nosuid shared:1 - fuse.atoll s3://bucket rw,user_id=0
std::optional<Mount> parse_line(std::string_view line) {
  const auto words = words_of(line);
  for (size_t dash = 6; dash + 2 < words.size(); ++dash) {
    if (words[dash] != "-") continue;
    return Mount{.point = unescaped(words[4]),
                 .type = unescaped(words[dash + 1]),
                 .source = unescaped(words[dash + 2]),
                 .device = std::string(words[2])};
  }
  return std::nullopt;
}

// What the program says goes to standard error.
Result<int> run_fusermount(const std::string& mount_point, bool lazily) {
  std::vector<std::string> words = {"fusermount3", "-u", "-q"};
  if (lazily) words.emplace_back("-z");
  words.emplace_back("--");
  words.push_back(mount_point);
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::array<char*, 1> no_environment = {nullptr};
  pid_t child = 0;
  const int failed = ::posix_spawnp(
      &child, arguments[0], nullptr, nullptr, arguments.data(), no_environment.data());
  if (failed != 0) return fail_errno("starting fusermount3", failed);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("waiting for fusermount3", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace

std::vector<Mount> parse_mounts(std::string_view mountinfo) {
  std::vector<Mount> found;
  while (!mountinfo.empty()) {
    const size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    if (auto mount = parse_line(mountinfo.substr(0, end))) found.push_back(std::move(*mount));
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
  }
  return found;
}

Result<std::vector<Mount>> mounts() {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return fail_errno("reading /proc/self/mountinfo", errno);
  return parse_mounts(text.str());
}

Result<std::string> absolute_path(const std::string& path) {
  std::filesystem::path whole = std::filesystem::path(path).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();  // "mnt/"
  // "/", ".", "..": no mount of ours hides behind them.
  const bool named = whole.has_filename() && whole.filename() != "." && whole.filename() != "..";
  const std::filesystem::path parent = named ? whole.parent_path() : whole;
  const std::string start = parent.empty() ? "." : parent.string();
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(start.c_str(), nullptr),
                                                        std::free);
  if (resolved == nullptr) return fail_errno(start, errno);
  std::string absolute = resolved.get();
  if (!named) return absolute;
  if (absolute != "/") absolute += '/';
  absolute += whole.filename().string();
  struct stat status {};
  // A link to a directory counts as what it points to.
  if (::lstat(absolute.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
    const std::unique_ptr<char, void (*)(void*)> target(::realpath(absolute.c_str(), nullptr),
                                                        std::free);
    if (target == nullptr) return fail_errno(absolute, errno);
    return std::string(target.get());
  }
  return absolute;
}

std::optional<Mount> mounted_at(const std::vector<Mount>& mounts, std::string_view absolute) {
  for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount) {
    if (mount->point == absolute) return *mount;
  }
  return std::nullopt;
}

std::optional<Mount> mount_of(const std::vector<Mount>& mounts, std::string_view absolute) {
  const Mount* best = nullptr;
  for (const Mount& mount : mounts) {
    const std::string& point = mount.point;
    const bool below =
        point == "/" || (absolute.starts_with(point) &&
                         (absolute.size() == point.size() || absolute[point.size()] == '/'));
    if (below && (best == nullptr || point.size() >= best->point.size())) best = &mount;
  }
  return best == nullptr ? std::nullopt : std::optional(*best);
}

bool is_dead(const std::string& mount_point) {
  // Not by stat(2): the kernel remembers the attributes of a root whose server is gone.
  struct statx status {};
  return ::statx(AT_FDCWD, mount_point.c_str(), AT_STATX_FORCE_SYNC, STATX_MODE, &status) != 0 &&
         (errno == ENOTCONN || errno == ECONNABORTED);
}

Result<void> check_not_mounted(const std::string& mount_point) {
  const auto there = mounted_at(ATOLL_TRY(mounts()), mount_point);
  if (!there || there->type != kMountType || is_dead(mount_point)) return {};
  return fail(ErrorCode::kInvalidInput,
              fmt::format("{} is mounted already, from {}", mount_point, there->source),
              fmt::format("\"atoll fs umount {}\" first", mount_point));
}

Result<void> unmount(const std::string& mount_point, bool lazily) {
  const auto busy = [&] {
    return fail(
        ErrorCode::kConflict, fmt::format("{} is in use", mount_point), std::string(kBusyHint));
  };
  if (::geteuid() == 0) {
    if (::umount2(mount_point.c_str(), UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0) return {};
    if (errno == EBUSY) return busy();
    return fail_errno(fmt::format("unmounting {}", mount_point), errno);
  }
  if (ATOLL_TRY(run_fusermount(mount_point, lazily)) == 0) return {};
  // It says only that it failed; what is still mounted and alive is in use.
  if (!lazily && mounted_at(ATOLL_TRY(mounts()), mount_point)) return busy();
  return fail(ErrorCode::kIo, fmt::format("fusermount3 could not unmount {}", mount_point));
}

Result<int> clear_dead_mounts(const std::string& mount_point) {
  int cleared = 0;
  for (;;) {
    const auto mount = mounted_at(ATOLL_TRY(mounts()), mount_point);
    if (!mount || mount->type != kMountType || !is_dead(mount_point)) return cleared;
    ATOLL_TRY(unmount(mount_point, true));
    ++cleared;
  }
}

}  // namespace atl::fs
