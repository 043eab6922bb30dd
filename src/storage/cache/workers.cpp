#include "storage/cache/workers.h"

namespace atl::storage {

Workers::Workers(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::post(std::function<void()> task, bool urgent) {
  // With the lock held: once the task has run, this may be gone.
  const std::lock_guard lock(mutex_);
  (urgent ? urgent_ : other_).push_back(std::move(task));
  changed_.notify_one();
}

void Workers::work() {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || !urgent_.empty() || !other_.empty(); });
      auto& queue = urgent_.empty() ? other_ : urgent_;
      if (queue.empty()) return;
      task = std::move(queue.front());
      queue.pop_front();
    }
    task();
  }
}

}  // namespace atl::storage
