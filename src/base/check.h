// ATOLL_CHECK(condition) << values: an invariant of our own code. Never reachable from input; a
// failure prints the condition, the values and the place, and aborts.
#pragma once

#include <cstdlib>
#include <iostream>
#include <sstream>

namespace atl::internal {

class CheckFailure {
 public:
  CheckFailure(const char* condition, const char* file, int line) {
    stream_ << file << ':' << line << ": broken invariant: " << condition << ' ';
  }
  CheckFailure(const CheckFailure&) = delete;
  CheckFailure& operator=(const CheckFailure&) = delete;
  [[noreturn]] ~CheckFailure() {
    std::cerr << stream_.str() << std::endl;
    std::abort();
  }
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

}  // namespace atl::internal

#define ATOLL_CHECK(condition) \
  if (condition) [[likely]] {  \
  } else /* NOLINT */          \
    ::atl::internal::CheckFailure(#condition, __FILE__, __LINE__).stream()
