#include "cli/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <condition_variable>
#include <mutex>

namespace atl::cli {
namespace {

void wait_for(const std::stop_token& token) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, token, [] { return false; });
}

// In a process of its own: how it ends is what is tested.
int exit_code_of(SignalWatcher::Again again) {
  const pid_t child = ::fork();
  if (child == 0) {
    {
      SignalWatcher watcher("", again);
      ::kill(::getpid(), SIGTERM);
      wait_for(watcher.stop_token());
      ::kill(::getpid(), SIGINT);
      // Until the watcher has taken it; it ends the process, or ignores it.
      sigset_t pending;
      do {
        ::sigpending(&pending);
      } while (sigismember(&pending, SIGINT) == 1);
      if (again == SignalWatcher::Again::kQuit) ::pause();
    }
    ::_exit(7);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(SignalWatcher, a_second_signal_ends_the_process_at_once) {
  EXPECT_EQ(exit_code_of(SignalWatcher::Again::kQuit), 130);
}

TEST(SignalWatcher, a_rank_that_was_signalled_twice_still_stops_cleanly) {
  EXPECT_EQ(exit_code_of(SignalWatcher::Again::kIgnore), 7);
}

}  // namespace
}  // namespace atl::cli
