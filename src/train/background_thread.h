// A thread of its caller that does one thing at a time while the caller goes on. What a task has changed may be
// looked at when it is no longer busy.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace atl::train {

// For one caller.
class BackgroundThread {
 public:
  // `first` runs on the thread before any task.
  explicit BackgroundThread(std::function<void()> first);
  // Waits for the task at hand.
  ~BackgroundThread();
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  // Not while it is busy. The task must not throw.
  void start(std::function<void()> task);
  bool busy() const;
  void wait() const;

 private:
  void work(const std::function<void()>& first);

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::function<void()> task_;  // until it is done
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace atl::train
