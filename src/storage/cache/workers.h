// A few threads that do what is handed to them, urgent things first.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace atl::storage {

// Thread safe.
class Workers {
 public:
  explicit Workers(int threads);
  // Does what was handed over, then ends. Not from a worker.
  ~Workers();
  void post(std::function<void()> task, bool urgent);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> urgent_;
  std::deque<std::function<void()>> other_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace atl::storage
