// fork() and not posix_spawn(): the child asks for the signal of its parent's death, which no attribute does. Between
// fork() and exec() it calls only what is safe there; everything is prepared before.
#include "job/rank_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

namespace atl::job {
namespace {

constexpr int kCannotStart = 127;  // as a shell has it; nobody sees it

// Behind 0, 1 and 2, which the child replaces, also where we were started without them.
Result<UniqueFd> above_standard_streams(UniqueFd fd) {
  if (fd.get() > STDERR_FILENO) return fd;
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!moved) return fail_errno("duplicating a descriptor", errno);
  return moved;
}

struct Channel {
  UniqueFd reader;
  UniqueFd writer;
};

Result<void> make_nonblocking(const UniqueFd& fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail_errno("setting up a pipe", errno);
  }
  return {};
}

Result<Channel> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("making a pipe", errno);
  Channel channel{UniqueFd(ends[0]), UniqueFd(ends[1])};
  channel.reader = ATOLL_TRY(above_standard_streams(std::move(channel.reader)));
  channel.writer = ATOLL_TRY(above_standard_streams(std::move(channel.writer)));
  return channel;
}

// A pseudo-terminal whose output arrives as it was written.
Result<Channel> make_terminal(int like) {
  UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  std::array<char, 128> name{};  // "/dev/pts/N"
  if (!master || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0 ||
      ::ptsname_r(master.get(), name.data(), name.size()) != 0) {
    return fail_errno("making a terminal for rank 0", errno);
  }
  UniqueFd slave(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios settings{};
  if (!slave || ::tcgetattr(slave.get(), &settings) != 0) {
    return fail_errno("making a terminal for rank 0", errno);
  }
  ::cfmakeraw(&settings);
  if (::tcsetattr(slave.get(), TCSANOW, &settings) != 0) {
    return fail_errno("making a terminal for rank 0", errno);
  }
  copy_terminal_size(like, slave.get());
  Channel channel;
  channel.reader = ATOLL_TRY(above_standard_streams(std::move(master)));
  channel.writer = ATOLL_TRY(above_standard_streams(std::move(slave)));
  return channel;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  // exec() takes them without const and changes none.
  for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));  // NOLINT
  list.push_back(nullptr);
  return list;
}

struct Prepared {
  std::vector<char*> arguments;
  std::vector<char*> environment;
  std::optional<cpu_set_t> cpus;
  pid_t launcher = -1;
  int in = -1, out = -1, err = -1;
  std::vector<int> inherited;
  int status = -1;  // errno goes here when it cannot be started
};

[[noreturn]] void give_up(int status_fd, int error_number) {
  (void)!::write(status_fd, &error_number, sizeof(error_number));
  ::_exit(kCannotStart);
}

// In the child.
[[noreturn]] void become_rank(const Prepared& prepared, const sigset_t& mask) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have died before that was asked for.
  if (::getppid() != prepared.launcher) ::_exit(kCannotStart);
  ::setpgid(0, 0);
  // A cpuset that has shrunk meanwhile leaves it unbound, and no worse off.
  if (prepared.cpus) ::sched_setaffinity(0, sizeof(*prepared.cpus), &*prepared.cpus);
  if (::dup2(prepared.in, STDIN_FILENO) < 0 || ::dup2(prepared.out, STDOUT_FILENO) < 0 ||
      ::dup2(prepared.err, STDERR_FILENO) < 0) {
    give_up(prepared.status, errno);
  }
  for (const int fd : prepared.inherited) ::fcntl(fd, F_SETFD, 0);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGCHLD, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  ::execvpe(prepared.arguments[0], prepared.arguments.data(), prepared.environment.data());
  give_up(prepared.status, errno);
}

// 0, or the errno of a child that could not be started.
int wait_for_exec(const UniqueFd& status) {
  int error_number = 0;
  ssize_t got = 0;
  do {
    got = ::read(status.get(), &error_number, sizeof(error_number));
  } while (got < 0 && errno == EINTR);
  return got == sizeof(error_number) ? error_number : 0;
}

}  // namespace

void copy_terminal_size(int from, int to) {
  winsize size{};
  if (::ioctl(from, TIOCGWINSZ, &size) == 0) ::ioctl(to, TIOCSWINSZ, &size);
}

Result<RankProcess> start_rank(const RankRequest& request) {
  UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!nothing) return fail_errno("/dev/null", errno);
  nothing = ATOLL_TRY(above_standard_streams(std::move(nothing)));
  Channel out = ATOLL_TRY(make_pipe());
  auto err_made = request.terminal >= 0 ? make_terminal(request.terminal) : make_pipe();
  Channel err = ATOLL_TRY(std::move(err_made));
  Channel status = ATOLL_TRY(make_pipe());
  ATOLL_TRY(make_nonblocking(out.reader));
  ATOLL_TRY(make_nonblocking(err.reader));

  Prepared prepared;
  prepared.arguments = pointers(request.command);
  prepared.environment = pointers(request.environment);
  if (!request.cpus.empty()) {
    prepared.cpus.emplace();
    CPU_ZERO(&*prepared.cpus);
    for (const int cpu : request.cpus) CPU_SET(static_cast<size_t>(cpu), &*prepared.cpus);
  }
  prepared.inherited = request.inherited;
  prepared.launcher = ::getpid();
  prepared.in = nothing.get();
  prepared.out = out.writer.get();
  prepared.err = err.writer.get();
  prepared.status = status.writer.get();

  RankProcess rank;
  rank.pid = ::fork();
  if (rank.pid < 0) return fail_errno("starting a rank", errno);
  if (rank.pid == 0) become_rank(prepared, request.signal_mask);
  status.writer = UniqueFd();
  if (const int error_number = wait_for_exec(status.reader); error_number != 0) {
    while (::waitpid(rank.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return fail_errno(fmt::format("running {}", request.command.front()), error_number);
  }
  rank.out = std::move(out.reader);
  rank.err = std::move(err.reader);
  return rank;
}

}  // namespace atl::job
