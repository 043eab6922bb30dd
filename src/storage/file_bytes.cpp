#include "storage/file_bytes.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace atl::storage {

tl::unexpected<Error> fail_on(std::string_view what, const std::string& path) {
  return fail_errno(fmt::format("{} {}", what, path), errno);
}

Result<Blob> map_file(int fd, uint64_t size_bytes, const std::string& path) {
  void* address = ::mmap(nullptr, size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) return fail_on("mapping", path);
  std::shared_ptr<const void> owner(address,
                                    [size_bytes](void* mapped) { ::munmap(mapped, size_bytes); });
  return Blob(std::move(owner), {static_cast<const std::byte*>(address), size_bytes});
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_on("writing", path);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace atl::storage
