#include "job/launch_variables.h"

#include <fcntl.h>

#include <limits>

#include "job/variables.h"

namespace atl::job {
namespace {

// A descriptor that we have inherited by that number, and hand on to nobody.
int inherited(const Variables& variables, const char* name) {
  const auto number = parse_number(variables.text(name), 3, std::numeric_limits<int>::max());
  if (!number) return -1;
  const int fd = static_cast<int>(*number);
  return ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
}

}  // namespace

Inheritance inheritance(const PlaceSources& sources) {
  const Variables variables(sources.variable);
  Inheritance found;
  if (!variables.has(kLaunchedVariable)) return found;
  constexpr int64_t kMostSeconds = 1'000'000;
  found.listener = UniqueFd(inherited(variables, kListenVariable));
  found.steps = UniqueFd(inherited(variables, kStepVariable));
  found.output_wait = std::chrono::seconds(
      parse_number(variables.text(kOutputWaitVariable), 0, kMostSeconds).value_or(0));
  return found;
}

}  // namespace atl::job
