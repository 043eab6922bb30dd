#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace atl {

int available_cpus() {
  int cpus = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  // A container's quota (cgroup v2): "200000 100000" is two processors.
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  long period = 0;
  if (quota_file >> quota >> period && quota != "max" && period > 0) {
    cpus = std::clamp(static_cast<int>(std::stol(quota) / period), 1, cpus);
  }
  return cpus;
}

void parallel_for(size_t count,
                  int threads,
                  size_t chunk,
                  const std::function<void(size_t begin, size_t end)>& body) {
  chunk = std::max<size_t>(chunk, 1);
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      for (;;) {
        const size_t begin = next.fetch_add(chunk);
        if (begin >= count) return;
        body(begin, std::min(begin + chunk, count));
      }
    } catch (...) {
      next.store(count);
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const size_t chunks = (count + chunk - 1) / chunk;
  const size_t helpers = std::min<size_t>(static_cast<size_t>(std::max(threads, 1)), chunks);
  {
    std::vector<std::jthread> pool;
    for (size_t i = 1; i < helpers; ++i) pool.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace atl
