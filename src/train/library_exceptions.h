// Where exceptions of torch and the standard library end: an entry point's body runs inside
// without_exceptions(), and what it throws becomes an Error of one line.
#pragma once

#include <functional>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace atl::train {

// Turns the exception in flight into an Error; only inside a catch block.
Error error_of_exception(std::string_view what);

// `what` names the job: "training".
template <typename Body>
auto without_exceptions(std::string_view what, const Body& body) -> std::invoke_result_t<Body> {
  try {
    return body();
  } catch (...) {
    return tl::unexpected(error_of_exception(what));
  }
}

}  // namespace atl::train
