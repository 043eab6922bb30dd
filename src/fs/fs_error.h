// Errors on their way to the kernel, and back to a person.
#pragma once

#include <cerrno>
#include <string>
#include <utility>

#include "fs/file_layer.h"

namespace atl::fs {

inline tl::unexpected<FsError> fail_fs(int error_number, std::string reason = {}) {
  return tl::unexpected<FsError>(FsError{error_number, std::move(reason)});
}

inline bool is_full_disk(const FsError& error) {
  return error.error_number == ENOSPC || error.error_number == EDQUOT;
}

// A result of the storage room as an answer to the kernel.
template <typename T>
FsResult<T> fs_result(Result<T> result) {
  if (!result) return tl::unexpected(to_fs_error(result.error()));
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

// An answer to the kernel as an error for `atoll fs`; `what` says on which file.
Error to_error(const FsError& error, const std::string& what);

template <typename T>
Result<T> plain_result(FsResult<T> result, const std::string& what) {
  if (!result) return tl::unexpected(to_error(result.error(), what));
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

}  // namespace atl::fs
