// Expected failures: I/O, parsing, user input. A function that can fail for such a reason returns
// Result<T>; broken invariants of our own are CHECKs (base/check.h).
//
// An Error reads as one line for a person: the context, outermost first, then what happened, then
// what to do about it:
//   reading annotations: instances.json: byte 1042: expected ',' (check that the copy is complete)
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace atl {

enum class ErrorCode {
  kInvalidInput,  // what the user gave is wrong
  kNotFound,      // a named file, object or entry is not there
  kPermission,    // it may be there, but not for us
  kConflict,      // it is no longer what the caller took it for
  kIo,            // the operating system or a server refused
  kCorrupt,       // bytes that should be ours are damaged
  kUnsupported,   // well-formed, but not something Atoll does
  kCancelled,     // stopped on request; nothing is wrong
  kInternal,      // an exception from a library, caught at a room's border
  kInconsistent,  // a store says two things of the same
};

struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;               // what failed, on what
  std::string hint;                  // what to do; may be empty
  std::vector<std::string> context;  // innermost first

  Error with_context(std::string_view what) && {
    context.emplace_back(what);
    return std::move(*this);
  }
  std::string to_string() const;
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message, std::string hint = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(hint), {}});
}

// kIo with strerror(errno) behind the message; ENOENT becomes kNotFound.
tl::unexpected<Error> fail_errno(std::string_view what, int error_number);

// 2 where what was given is wrong, not there or damaged, so that another try would end the same; 1 for other
// failures.
int exit_code(const Error& error);

}  // namespace atl

// ATOLL_TRY(expression): the value of a Result, or return its error from this function.
// ATOLL_TRY_CONTEXT adds a link to the context chain on the way out.
// (Statement expressions, which both compilers have. Not behind other members of an aggregate or other
// arguments: gcc does not destroy what is made of these when the return comes.)
#define ATOLL_TRY_CONTEXT(expression, what)                                          \
  (__extension__({                                                                   \
    auto atoll_try_result = (expression);                                            \
    if (!atoll_try_result) {                                                         \
      return tl::unexpected(std::move(atoll_try_result).error().with_context(what)); \
    }                                                                                \
    ::atl::internal::take(std::move(atoll_try_result));                              \
  }))
#define ATOLL_TRY(expression)                                                          \
  (__extension__({                                                                     \
    auto atoll_try_result = (expression);                                              \
    if (!atoll_try_result) return tl::unexpected(std::move(atoll_try_result).error()); \
    ::atl::internal::take(std::move(atoll_try_result));                                \
  }))

namespace atl::internal {
// Any error type: a room may have one of its own beside Error.
template <typename T, typename E>
T take(tl::expected<T, E>&& result) {
  return std::move(*result);
}
template <typename E>
void take(tl::expected<void, E>&&) {}
}  // namespace atl::internal
