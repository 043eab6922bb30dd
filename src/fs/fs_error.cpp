#include "fs/fs_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace atl::fs {

FsError to_fs_error(const Error& error) {
  int number = EIO;
  switch (error.code) {
    case ErrorCode::kNotFound:
      number = ENOENT;
      break;
    case ErrorCode::kPermission:
      number = EACCES;
      break;
    case ErrorCode::kConflict:
      // The object that this handle was opened on is another one by now; opening it again helps.
      number = ESTALE;
      break;
    case ErrorCode::kCancelled:
      number = EINTR;
      break;
    case ErrorCode::kInvalidInput:
      number = EINVAL;
      break;
    case ErrorCode::kUnsupported:
      number = ENOTSUP;
      break;
    case ErrorCode::kIo:
    case ErrorCode::kCorrupt:
    case ErrorCode::kInconsistent:
    case ErrorCode::kInternal:
      break;
  }
  return {number, error.to_string()};
}

Error to_error(const FsError& error, const std::string& what) {
  ErrorCode code = ErrorCode::kIo;
  if (error.error_number == ENOENT) code = ErrorCode::kNotFound;
  if (error.error_number == EACCES || error.error_number == EROFS) code = ErrorCode::kPermission;
  if (error.error_number == ESTALE) code = ErrorCode::kConflict;
  if (error.error_number == EINTR) code = ErrorCode::kCancelled;
  const std::string reason =
      error.reason.empty() ? std::string(std::strerror(error.error_number)) : error.reason;
  return Error{code, what.empty() ? reason : fmt::format("{}: {}", what, reason), {}, {}};
}

}  // namespace atl::fs
