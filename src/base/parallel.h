// Runs body(i) for i in [0, count) on up to `threads` threads, the calling one included, and
// returns when all are done. Indices are handed out in chunks, in increasing order. The first
// exception that a body throws is rethrown here, after every thread has stopped.
#pragma once

#include <cstddef>
#include <functional>

namespace atl {

// The processors this process may run on (its affinity mask, then a cgroup's CPU quota).
int available_cpus();

void parallel_for(size_t count,
                  int threads,
                  size_t chunk,
                  const std::function<void(size_t begin, size_t end)>& body);

}  // namespace atl
