// Ctrl-C and SIGTERM as a std::stop_token: the first asks for a clean stop and says so, the second
// ends the process at once with 128 + its number. In a rank of `atoll launch` the launcher decides when a stop takes too
// long, and further signals are ignored: a cluster sends its SIGTERM to every process, so a rank has it twice.
//
// The signals are blocked and read from a signalfd by a thread of its own, so no code ever runs in
// a signal handler. Threads inherit the blocked mask from the one that makes them: make the watcher
// before any other thread.
#pragma once

#include <signal.h>

#include <atomic>
#include <stop_token>
#include <string>
#include <thread>

#include "base/unique_fd.h"

namespace atl::cli {

class SignalWatcher {
 public:
  enum class Again { kQuit, kIgnore };  // what a second signal does

  // `says`: to standard error when the first one comes; "" for nothing.
  explicit SignalWatcher(std::string says, Again again = Again::kQuit);
  // Gives the signals their old meaning again.
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  std::stop_token stop_token() const { return stop_.get_token(); }
  int received() const { return received_; }  // 0: none yet

 private:
  void watch();

  const std::string says_;
  const Again again_;
  sigset_t before_{};
  UniqueFd signals_;
  UniqueFd end_;  // an eventfd: the watcher is no longer wanted
  std::atomic<int> received_ = 0;
  std::stop_source stop_;
  std::thread thread_;
};

}  // namespace atl::cli
