#include "fs/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "fs/control_message.h"

namespace atl::fs {
namespace {

constexpr size_t kPiece_bytes = 4096;

// What the daemon says: one reply of the control channel, kDone or kError.
Result<void> hear(int pipe, pid_t daemon) {
  FrameReader reader(kMaxReplyBytes);
  std::array<char, kPiece_bytes> piece{};
  for (;;) {
    if (const auto text = ATOLL_TRY(reader.next())) {
      const ControlReply reply = ATOLL_TRY(parse_reply(*text));
      if (reply.kind == ControlReply::Kind::kDone) return {};
      ::waitpid(daemon, nullptr, 0);
      return tl::unexpected(reply.error);
    }
    const ssize_t got = ::read(pipe, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    reader.add({piece.data(), static_cast<size_t>(got)});
  }
  int status = 0;
  ::waitpid(daemon, &status, 0);
  return fail(ErrorCode::kIo,
              WIFSIGNALED(status) ? fmt::format("the daemon died of signal {} before it was ready",
                                                WTERMSIG(status))
                                  : "the daemon ended before it was ready",
              "--foreground shows what it does");
}

void say(const UniqueFd& pipe, const ControlReply& reply) {
  const std::string text = frame(to_json(reply));
  std::string_view left = text;
  // A caller who is gone does not hear it, and that changes nothing.
  while (!left.empty()) {
    const ssize_t written = ::write(pipe.get(), left.data(), left.size());
    if (written <= 0) return;
    left.remove_prefix(static_cast<size_t>(written));
  }
}

UniqueFd open_log(const std::string& file) {
  return UniqueFd(
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR));
}

}  // namespace

Result<std::optional<Daemon>> Daemon::start() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("making a pipe", errno);
  const UniqueFd hearing(ends[0]);
  UniqueFd saying(ends[1]);
  const pid_t daemon = ::fork();
  if (daemon < 0) return fail_errno("starting the daemon", errno);
  if (daemon > 0) {
    saying = UniqueFd();
    ATOLL_TRY(hear(hearing.get(), daemon));
    return std::nullopt;
  }
  ::setsid();
  const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (::chdir("/") != 0 || !nothing || ::dup2(nothing.get(), STDIN_FILENO) < 0) {
    say(saying,
        {.kind = ControlReply::Kind::kError,
         .error = fail_errno("going into the background", errno).value()});
    ::_exit(1);
  }
  return Daemon(std::move(saying));
}

Result<void> Daemon::ready(const std::string& log_file) {
  const UniqueFd log = open_log(log_file);
  if (!log) return fail_errno(log_file, errno);
  if (::dup2(log.get(), STDOUT_FILENO) < 0 || ::dup2(log.get(), STDERR_FILENO) < 0) {
    return fail_errno("redirecting the daemon's output", errno);
  }
  say(caller_, {});
  caller_ = UniqueFd();
  return {};
}

void Daemon::failed(const Error& error) {
  if (!caller_) return;
  say(caller_, {.kind = ControlReply::Kind::kError, .error = error});
  caller_ = UniqueFd();
}

Result<Log> Log::open(const std::string& file) {
  UniqueFd fd =
      file.empty() ? UniqueFd(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) : open_log(file);
  if (!fd) return fail_errno(file.empty() ? "standard error" : file, errno);
  return Log(std::move(fd));
}

void Log::line(std::string_view text) const {
  const time_t now = ::time(nullptr);
  tm parts{};
  ::localtime_r(&now, &parts);
  std::array<char, 32> time{};  // NOLINT: "2026-11-26T15:48:28+0100"
  const size_t length = ::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%S%z", &parts);
  const std::string whole = fmt::format("{} {}\n", std::string_view(time.data(), length), text);
  // One write, so that lines of several threads stay lines. A full disk loses them.
  (void)!::write(fd_.get(), whole.data(), whole.size());
}

}  // namespace atl::fs
