#include "storage/s3/small_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/unique_fd.h"
#include "storage/file_bytes.h"

namespace atl::storage {

Result<std::string> read_small_file(const std::string& path, size_t max_bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_on("opening", path);
  std::string text;
  std::array<char, 16384> piece;
  while (true) {
    const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_on("reading", path);
    if (n == 0) return text;
    text.append(piece.data(), static_cast<size_t>(n));
    if (text.size() > max_bytes) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("{} is longer than {} bytes", path, max_bytes));
    }
  }
}

}  // namespace atl::storage
