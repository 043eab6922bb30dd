#include "sagemaker/host_processes.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace atl::sagemaker {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// A process that closes its outputs, or leaves them to a child, shows only by being asked for.
constexpr milliseconds kAskEvery{100};
// How long a process that a host has left behind may hold its output open.
constexpr milliseconds kDrain{1000};

}  // namespace

void HostProcesses::clear() {
  signal(SIGKILL);
  for (const Host& host : hosts_) {
    while (!host.exit_code && ::waitpid(host.process.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  hosts_.clear();
  failed_.reset();
}

Result<void> HostProcesses::start(const std::vector<HostStart>& hosts) {
  for (const HostStart& start : hosts) {
    job::RankRequest request;
    request.command = start.command;
    request.environment = start.environment;
    request.cpus = start.cpus;
    ::sigemptyset(&request.signal_mask);
    Host host;
    host.process = ATOLL_TRY(job::start_rank(request));
    hosts_.push_back(std::move(host));
  }
  return {};
}

void HostProcesses::wait(milliseconds at_most, int wake) {
  struct Source {
    size_t host;
    OutputStream stream;
  };
  std::vector<pollfd> polled = {{wake, POLLIN, 0}};
  std::vector<Source> sources;
  for (size_t i = 0; i < hosts_.size(); ++i) {
    const job::RankProcess& process = hosts_[i].process;
    if (process.out) {
      polled.push_back({process.out.get(), POLLIN, 0});
      sources.push_back({i, OutputStream::kOut});
    }
    if (process.err) {
      polled.push_back({process.err.get(), POLLIN, 0});
      sources.push_back({i, OutputStream::kErr});
    }
  }
  const auto timeout = std::clamp(at_most, milliseconds(0), kAskEvery);
  ::poll(polled.data(), polled.size(), static_cast<int>(timeout.count()));
  for (size_t i = 0; i < sources.size(); ++i) {
    if (polled[i + 1].revents != 0) read(sources[i].host, sources[i].stream);
  }
  reap();
}

void HostProcesses::read(size_t index, OutputStream stream) {
  Host& host = hosts_[index];
  const UniqueFd& fd = stream == OutputStream::kOut ? host.process.out : host.process.err;
  job::LineSplitter& lines = stream == OutputStream::kOut ? host.out : host.err;
  std::array<char, 1 << 16> buffer;  // read() fills what is used
  const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (got <= 0) return close(index, stream);
  lines.add(std::string_view(buffer.data(), static_cast<size_t>(got)),
            [&](std::string_view text) { line(index, stream, text); });
}

void HostProcesses::close(size_t index, OutputStream stream) {
  Host& host = hosts_[index];
  UniqueFd& fd = stream == OutputStream::kOut ? host.process.out : host.process.err;
  job::LineSplitter& lines = stream == OutputStream::kOut ? host.out : host.err;
  if (!fd) return;
  lines.finish([&](std::string_view text) { line(index, stream, text); });
  fd = UniqueFd();
}

void HostProcesses::line(size_t index, OutputStream stream, std::string_view text) {
  if (stream == OutputStream::kErr && !text.empty()) hosts_[index].last_error_line = text;
  on_line_(index, stream, text);
}

void HostProcesses::reap() {
  for (size_t i = 0; i < hosts_.size(); ++i) {
    Host& host = hosts_[i];
    int status = 0;
    if (!host.exit_code && ::waitpid(host.process.pid, &status, WNOHANG) == host.process.pid) {
      host.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      host.ended_at = Clock::now();
      if (*host.exit_code != 0 && !failed_) failed_ = i;
    }
    if (host.ended_at && Clock::now() - *host.ended_at > kDrain) {
      close(i, OutputStream::kOut);
      close(i, OutputStream::kErr);
    }
  }
}

void HostProcesses::signal(int number) {
  for (const Host& host : hosts_) {
    if (!host.exit_code) ::kill(-host.process.pid, number);
  }
}

bool HostProcesses::all_ended() const {
  return std::ranges::all_of(hosts_, [](const Host& host) {
    return host.exit_code && !host.process.out && !host.process.err;
  });
}

}  // namespace atl::sagemaker
