#include "cli/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace atl::cli {

SignalWatcher::SignalWatcher(std::string says, Again again)
    : says_(std::move(says)), again_(again) {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGINT);
  sigaddset(&wanted, SIGTERM);
  ATOLL_CHECK(::pthread_sigmask(SIG_BLOCK, &wanted, &before_) == 0);
  signals_ = UniqueFd(::signalfd(-1, &wanted, SFD_CLOEXEC));
  end_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  ATOLL_CHECK(signals_ && end_) << std::strerror(errno);
  thread_ = std::thread([this] { watch(); });
}

SignalWatcher::~SignalWatcher() {
  const uint64_t one = 1;
  ATOLL_CHECK(::write(end_.get(), &one, sizeof(one)) == sizeof(one)) << std::strerror(errno);
  thread_.join();
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void SignalWatcher::watch() {
  for (;;) {
    pollfd wanted[] = {{signals_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
    if (::poll(wanted, 2, -1) < 0) continue;
    if (wanted[1].revents != 0) return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info)) continue;
    const int number = static_cast<int>(info.ssi_signo);
    if (received_ != 0) {
      if (again_ == Again::kQuit) ::_exit(128 + number);
      continue;
    }
    received_ = number;
    const bool can_quit = number == SIGINT && again_ == Again::kQuit;
    if (!says_.empty()) {
      std::fprintf(
          stderr, "\natoll: %s%s\n", says_.c_str(), can_quit ? "; Ctrl-C again quits at once" : "");
    }
    stop_.request_stop();
  }
}

}  // namespace atl::cli
