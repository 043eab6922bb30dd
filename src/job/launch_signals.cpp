#include "job/launch_signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

namespace atl::job {
namespace {

bool is_ignored(int number) {
  struct sigaction action {};
  return ::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

Result<LaunchSignals> LaunchSignals::start() {
  sigset_t wanted;
  sigemptyset(&wanted);
  // An ignored signal that is blocked would wait for us all the same.
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    if (!is_ignored(number)) sigaddset(&wanted, number);
  }
  sigaddset(&wanted, SIGCHLD);
  sigaddset(&wanted, SIGWINCH);
  LaunchSignals signals;
  if (const int failed = ::pthread_sigmask(SIG_BLOCK, &wanted, &signals.mask_); failed != 0) {
    return fail_errno("blocking signals", failed);
  }
  // Whoever ignores SIGCHLD is told no exit codes; and an output without a reader is an error, no end.
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &plain, &signals.child_);
  plain.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &plain, &signals.pipe_);
  signals.fd_ = UniqueFd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.fd_) {
    const int error_number = errno;
    ::sigaction(SIGCHLD, &signals.child_, nullptr);
    ::sigaction(SIGPIPE, &signals.pipe_, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &signals.mask_, nullptr);
    return fail_errno("waiting for signals", error_number);
  }
  return signals;
}

LaunchSignals::LaunchSignals(LaunchSignals&& other) noexcept
    : fd_(std::move(other.fd_)), mask_(other.mask_), pipe_(other.pipe_), child_(other.child_) {}

LaunchSignals::~LaunchSignals() {
  if (!fd_) return;
  // One that came at the very end has been served: by then every rank has ended.
  while (next()) {
  }
  ::sigaction(SIGCHLD, &child_, nullptr);
  ::sigaction(SIGPIPE, &pipe_, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
}

std::optional<int> LaunchSignals::next() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace atl::job
