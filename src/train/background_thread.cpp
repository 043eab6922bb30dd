#include "train/background_thread.h"

#include <utility>

#include "base/check.h"

namespace atl::train {

BackgroundThread::BackgroundThread(std::function<void()> first)
    : thread_([this, first = std::move(first)] { work(first); }) {}

BackgroundThread::~BackgroundThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundThread::start(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    ATOLL_CHECK(!task_) << "a task is at hand";
    task_ = std::move(task);
  }
  changed_.notify_all();
}

bool BackgroundThread::busy() const {
  const std::lock_guard lock(mutex_);
  return task_ != nullptr;
}

void BackgroundThread::wait() const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return task_ == nullptr; });
}

void BackgroundThread::work(const std::function<void()>& first) {
  first();
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return task_ != nullptr || ending_; });
    if (task_ == nullptr) return;
    lock.unlock();
    task_();  // nobody else touches it as long as it is there
    lock.lock();
    task_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace atl::train
