// For tests: the ranks of a job, forked. A process with threads must not be (torch's would be missing in the
// child, and whoever waits for them hangs), so the test program itself computes nothing: all of it happens in
// the ranks, each of which gives back a text.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "parallel/options.h"

namespace atl::parallel {

struct RankEnd {
  std::string text;  // what the body returned
  int signal = 0;    // that killed it
  double seconds = 0;
};

using RankBody = std::function<std::string(const GroupOptions&)>;

struct RankJob {
  int size = 2;
  std::vector<int> present;  // the ranks that are started; empty: all
  std::optional<int>
      stopped;  // one that stops or hangs in this test: killed when the others have ended
  // Long, so that no test of something else depends on the machine's speed.
  std::chrono::milliseconds join_timeout = std::chrono::seconds(60);
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
  std::chrono::milliseconds silence = std::chrono::seconds(60);
  std::chrono::milliseconds hearing = std::chrono::seconds(60);
  std::chrono::seconds deadline = std::chrono::seconds(120);  // then they are killed
};

// Where a rank is killed, every other hears for this long, to the end. Longer than in a job, since a rank that
// lives but does not answer in time would be named, too.
constexpr auto kHearingOfKilled = std::chrono::seconds(10);

namespace internal {

inline std::string caught(const RankBody& body, const GroupOptions& options) {
  try {
    return body(options);
  } catch (const std::exception& error) {
    return std::string("exception: ") + error.what();
  }
}

[[noreturn]] inline void be_rank(const RankBody& body, const GroupOptions& options, int pipe) {
  const std::string text = caught(body, options);
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t count = ::write(pipe, text.data() + sent, text.size() - sent);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    sent += static_cast<size_t>(count);
  }
  std::cerr.flush();
  ::_exit(0);
}

struct RunningRank {
  pid_t process = 0;
  UniqueFd pipe;
};

// All at once, so that each has its own time, and nobody waits for one that hangs.
inline std::map<int, RankEnd> wait_for_ends(std::map<int, RunningRank> running,
                                            const RankJob& job,
                                            std::chrono::steady_clock::time_point begin) {
  std::map<int, RankEnd> ends;
  bool killed = false;
  while (!running.empty()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        begin + job.deadline - std::chrono::steady_clock::now());
    const bool others_ended = running.size() == 1 && running.begin()->first == job.stopped;
    if (!killed && (others_ended || left.count() <= 0)) {
      for (const auto& [rank, started] : running) ::kill(started.process, SIGKILL);
      killed = true;
    }
    std::vector<pollfd> waiting;
    for (const auto& [rank, started] : running) waiting.push_back({started.pipe.get(), POLLIN, 0});
    if (::poll(waiting.data(), waiting.size(), killed ? -1 : static_cast<int>(left.count())) <= 0) {
      continue;
    }
    auto next = running.begin();
    for (const pollfd& ready : waiting) {
      const auto started = next++;
      if (ready.revents == 0) continue;
      RankEnd& end = ends[started->first];
      std::array<char, 65536> buffer{};
      const ssize_t count = ::read(ready.fd, buffer.data(), buffer.size());
      if (count < 0 && errno == EINTR) continue;
      if (count > 0) {
        end.text.append(buffer.data(), static_cast<size_t>(count));
        continue;
      }
      end.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      int status = 0;
      while (::waitpid(started->second.process, &status, 0) < 0 && errno == EINTR) {
      }
      end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      running.erase(started);
    }
  }
  return ends;
}

}  // namespace internal

// By rank. Waits for all of them; one that was killed, or did not end in time, has its signal.
inline std::map<int, RankEnd> run_ranks(const RankJob& job, const RankBody& body) {
  const auto threads = std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                                     std::filesystem::directory_iterator());
  EXPECT_EQ(threads, 1) << "this program must not have threads when it forks";
  if (threads != 1) return {};
  std::vector<int> present = job.present;
  if (present.empty()) {
    present.resize(static_cast<size_t>(job.size));
    std::iota(present.begin(), present.end(), 0);
  }
  const bool with_first = std::ranges::count(present, 0) > 0;
  // Where rank 0 is not started, the port is refused: nobody listens, and nobody else can take it.
  UniqueFd port(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(port.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      (with_first && ::listen(port.get(), 64) != 0) ||
      ::getsockname(port.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    ADD_FAILURE() << "no port to listen on";
    return {};
  }
  const auto begin = std::chrono::steady_clock::now();
  std::map<int, internal::RunningRank> running;
  for (const int rank : present) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    const pid_t process = ::fork();
    if (process == 0) {
      GroupOptions options;
      options.rank = rank;
      options.size = job.size;
      options.master_port = ntohs(address.sin_port);
      options.join_timeout = job.join_timeout;
      options.timeout = job.timeout;
      options.silence = job.silence;
      options.hearing = job.hearing;
      if (rank == 0) {
        options.listen_fd = port.get();
      } else {
        ::close(port.get());
      }
      for (const auto& [other, started] : running) ::close(started.pipe.get());
      ::close(ends[0]);
      internal::be_rank(body, options, ends[1]);
    }
    ::close(ends[1]);
    running.emplace(rank, internal::RunningRank{process, UniqueFd(ends[0])});
  }
  if (with_first) port = UniqueFd();  // rank 0's alone, and closed with it
  return internal::wait_for_ends(std::move(running), job, begin);
}

}  // namespace atl::parallel
