#include "storage/nameless_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

#include "storage/file_bytes.h"

namespace atl::storage {
namespace {

// Not every file system has files without a name; there, the name is taken away at once.
UniqueFd open_nameless(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string name = directory + "/atoll-spool-XXXXXX";
  fd = UniqueFd(::mkostemp(name.data(), O_CLOEXEC));
  if (fd) ::unlink(name.c_str());
  return fd;
}

}  // namespace

std::string temporary_directory() {
  std::error_code error;
  std::string named = std::filesystem::temp_directory_path(error).string();
  if (!error && named != "/tmp") return named;
  return std::filesystem::is_directory("/var/tmp", error) ? "/var/tmp" : "/tmp";
}

Result<NamelessFile> NamelessFile::create(const std::string& in) {
  UniqueFd fd = open_nameless(in);
  if (!fd) {
    Error error = fail_errno("making a temporary file in " + in, errno).value();
    error.hint = "set TMPDIR to a directory that can be written to";
    return tl::unexpected(std::move(error));
  }
  return NamelessFile(in, std::move(fd));
}

Result<void> NamelessFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      Error error = fail_on("writing", name()).value();
      error.hint = "make room there, or set TMPDIR to another directory";
      return tl::unexpected(std::move(error));
    }
    offset += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<Blob> NamelessFile::read_at(uint64_t offset, uint64_t size_bytes) const {
  const std::shared_ptr<std::byte[]> buffer(new std::byte[size_bytes]);  // not zeroed first
  uint64_t got = 0;
  while (got < size_bytes) {
    const ssize_t n =
        ::pread(fd_.get(), buffer.get() + got, size_bytes - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_on("reading", name());
    if (n == 0) return fail(ErrorCode::kIo, "reading " + name() + ": it ends too early");
    got += static_cast<uint64_t>(n);
  }
  return Blob(buffer, std::span<const std::byte>(buffer.get(), size_bytes));
}

Result<Blob> NamelessFile::map(uint64_t size_bytes) const {
  if (size_bytes == 0) return Blob();
  return map_file(fd_.get(), size_bytes, name());
}

}  // namespace atl::storage
