// The programs of a job's hosts as processes of this machine: started, listened to, signalled and awaited by one thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "job/merged_output.h"
#include "job/rank_process.h"

namespace atl::sagemaker {

struct HostStart {
  std::vector<std::string> command;
  std::vector<std::string> environment;  // NAME=VALUE
  std::vector<int> cpus;                 // empty: all of ours
};

enum class OutputStream { kOut, kErr };
using OnHostLine = std::function<void(size_t host, OutputStream stream, std::string_view line)>;

// The kernel kills the processes when the thread that starts them ends. Not thread safe.
class HostProcesses {
 public:
  explicit HostProcesses(OnHostLine on_line) : on_line_(std::move(on_line)) {}
  ~HostProcesses() { clear(); }
  HostProcesses(const HostProcesses&) = delete;
  HostProcesses& operator=(const HostProcesses&) = delete;

  // Kills what still runs, waits for it, and forgets all of it.
  void clear();
  // One after the other; those that run already stay when one cannot be started.
  Result<void> start(const std::vector<HostStart>& hosts);
  // Passes on what they write, and notices who has ended, until something has happened, `wake` (a descriptor) can be read, or
  // the time is up.
  void wait(std::chrono::milliseconds at_most, int wake);
  // To every one that runs, with what it has started.
  void signal(int number);

  bool all_ended() const;
  // 128 + the signal where one ended it; nullopt: it runs.
  std::optional<int> exit_code(size_t host) const { return hosts_[host].exit_code; }
  // The first that ended with another code than 0.
  std::optional<size_t> failed() const { return failed_; }
  // What it last wrote to its standard error; "" where it has written nothing.
  const std::string& last_error_line(size_t host) const { return hosts_[host].last_error_line; }

 private:
  struct Host {
    job::RankProcess process;
    job::LineSplitter out{/*redraws=*/false};
    job::LineSplitter err{/*redraws=*/false};
    std::optional<int> exit_code;
    std::optional<std::chrono::steady_clock::time_point> ended_at;
    std::string last_error_line;
  };
  void read(size_t host, OutputStream stream);
  void close(size_t host, OutputStream stream);
  void line(size_t host, OutputStream stream, std::string_view text);
  void reap();

  const OnHostLine on_line_;
  std::vector<Host> hosts_;
  std::optional<size_t> failed_;
};

}  // namespace atl::sagemaker
