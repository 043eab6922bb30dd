#include "job/order_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace atl::job {

Result<Wakeup> Wakeup::make() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return fail_errno("making an eventfd", errno);
  return Wakeup(std::move(fd));
}

void Wakeup::wake() {
  const uint64_t one = 1;
  // Fails where it is readable beyond measure, and then it is readable.
  (void)!::write(fd_.get(), &one, sizeof(one));
}

void Wakeup::clear() {
  uint64_t count = 0;
  (void)!::read(fd_.get(), &count, sizeof(count));
}

}  // namespace atl::job
