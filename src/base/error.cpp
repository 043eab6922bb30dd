#include "base/error.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace atl {

std::string Error::to_string() const {
  std::string line;
  for (auto link = context.rbegin(); link != context.rend(); ++link) {
    line += *link;
    line += ": ";
  }
  line += message;
  if (!hint.empty()) line += fmt::format(" ({})", hint);
  return line;
}

tl::unexpected<Error> fail_errno(std::string_view what, int error_number) {
  const auto code = error_number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  std::string hint;
  if (error_number == ENOSPC || error_number == EDQUOT) hint = "free some space, then run it again";
  if (error_number == EACCES || error_number == EPERM) hint = "check the owner and the permissions";
  return fail(code,
              fmt::format("{}: {}", what, std::generic_category().message(error_number)),
              std::move(hint));
}

int exit_code(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidInput:
    case ErrorCode::kNotFound:
    case ErrorCode::kCorrupt:
      return 2;
    default:
      return 1;
  }
}

}  // namespace atl
