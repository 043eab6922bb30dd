#include "train/library_exceptions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <new>
#include <string>

namespace atl::train {
namespace {

constexpr const char* kMemoryHint =
    "lower train.global_batch or raise train.accumulation, or make model.max_size_px smaller";

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace

Error error_of_exception(std::string_view what) {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    return {ErrorCode::kInternal,
            fmt::format("{}: out of memory: {}", what, first_line(error.what_without_backtrace())),
            kMemoryHint,
            {}};
  } catch (const c10::Error& error) {
    const std::string text = first_line(error.what_without_backtrace());
    // The CPU allocator's own words.
    const bool memory = text.find("not enough memory") != std::string::npos;
    return {ErrorCode::kInternal, fmt::format("{}: {}", what, text), memory ? kMemoryHint : "", {}};
  } catch (const std::bad_alloc&) {
    return {ErrorCode::kInternal, fmt::format("{}: out of memory", what), kMemoryHint, {}};
  } catch (const std::exception& error) {
    return {ErrorCode::kInternal, fmt::format("{}: {}", what, first_line(error.what())), "", {}};
  }
}

}  // namespace atl::train
