#include "base/own_program.h"

#include <filesystem>

namespace atl {

Result<std::string> own_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail_errno("reading /proc/self/exe", error.value());
  return self.string();
}

}  // namespace atl
