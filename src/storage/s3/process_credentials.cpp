// credential_process: a program of the user's that prints credentials as JSON. Source: "Sourcing
// credentials with an external process" of the AWS CLI's user guide.
//
// It runs in a process group of its own, so that on the deadline it is ended with what it has started, and without our
// terminal: its standard error may hold anything, and a daemon's log is no place for it.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/unique_fd.h"
#include "storage/s3/credentials_answer.h"
#include "storage/s3/credentials_sources.h"

namespace atl::storage {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::string_view kSource = "credential_process";
constexpr std::string_view kHint =
    "run the profile's credential_process by hand to see what it says";
constexpr int kLookEvery_ms = 10;

tl::unexpected<Error> process_failed(std::string what) {
  return fail(ErrorCode::kPermission, fmt::format("{} {}", kSource, what), std::string(kHint));
}

// A child that is ended and waited for, however we leave.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  // Its exit status as waitpid() gives it; nullopt where it goes on beyond the deadline.
  std::optional<int> wait_until(SteadyTime deadline) {
    while (true) {
      int status = 0;
      const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
      if (ended == pid_ || (ended < 0 && errno != EINTR)) {
        pid_ = 0;
        // Somebody who ignores SIGCHLD has no status; what it printed decides.
        return ended < 0 ? 0 : status;
      }
      if (std::chrono::steady_clock::now() >= deadline) return std::nullopt;
      ::poll(nullptr, 0, kLookEvery_ms);
    }
  }

 private:
  pid_t pid_;
};

struct SpawnSettings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;

  explicit SpawnSettings(int output) {
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
};

Result<pid_t> start(const std::string& command, int output) {
  const SpawnSettings settings(output);
  std::string shell = "sh", option = "-c", text = command;
  const std::array<char*, 4> arguments = {shell.data(), option.data(), text.data(), nullptr};
  pid_t pid = 0;
  // The program has our environment, as it has in AWS's own programs.
  const int failed = ::posix_spawn(
      &pid, "/bin/sh", &settings.files, &settings.attributes, arguments.data(), environ);
  if (failed != 0) return fail_errno("starting /bin/sh for credential_process", failed);
  return pid;
}

Result<std::string> read_output(int fd, SteadyTime deadline) {
  std::string output;
  std::array<char, 4096> piece;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd ready{fd, POLLIN, 0};
    const int count = left.count() <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(left.count()));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) return process_failed("has not answered in time");
    const ssize_t n = ::read(fd, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("reading from credential_process", errno);
    if (n == 0) return output;
    output.append(piece.data(), static_cast<size_t>(n));
    if (output.size() > kMaxCredentialsAnswerBytes) return process_failed("prints too much");
  }
}

}  // namespace

Result<FetchedCredentials> process_credentials(const std::string& command,
                                               ProcessDeadlines deadlines) {
  const SteadyTime begun = std::chrono::steady_clock::now();
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("making a pipe", errno);
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  Child child(ATOLL_TRY(start(command, theirs.get())));
  theirs = UniqueFd();  // so that their end is ours
  const std::string output = ATOLL_TRY(read_output(ours.get(), begun + deadlines.answer));
  const std::optional<int> status =
      child.wait_until(std::chrono::steady_clock::now() + deadlines.end);
  if (!status) return process_failed("has not ended in time");
  if (!WIFEXITED(*status)) {
    return process_failed(fmt::format("ended by signal {}", WTERMSIG(*status)));
  }
  if (WEXITSTATUS(*status) != 0) {
    return process_failed(fmt::format("failed with status {}", WEXITSTATUS(*status)));
  }
  return FetchedCredentials{
      ATOLL_TRY(parse_credentials_json(output, CredentialsJson::kProcess, kSource)), {}};
}

}  // namespace atl::storage
