// Orders from one thread to another, or to itself, as a descriptor that can be polled.
#pragma once

#include <deque>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "base/unique_fd.h"

namespace atl::job {

// An eventfd: wake() makes it readable, clear() takes that back.
class Wakeup {
 public:
  static Result<Wakeup> make();
  int fd() const { return fd_.get(); }
  void wake();
  void clear();

 private:
  explicit Wakeup(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// Thread safe.
template <typename T>
class WakingQueue {
 public:
  explicit WakingQueue(Wakeup wakeup) : wakeup_(std::move(wakeup)) {}

  int fd() const { return wakeup_.fd(); }  // readable while there is something
  void push(T item) {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    wakeup_.wake();
  }
  std::optional<T> pop() {
    const std::lock_guard lock(mutex_);
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    if (items_.empty()) wakeup_.clear();
    return item;
  }

 private:
  std::mutex mutex_;
  Wakeup wakeup_;
  std::deque<T> items_;
};

}  // namespace atl::job
