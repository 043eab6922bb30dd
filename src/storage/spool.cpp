#include "storage/spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "storage/file_bytes.h"

namespace atl::storage {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;

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

std::string Spool::directory() {
  std::error_code error;
  std::string named = std::filesystem::temp_directory_path(error).string();
  if (!error && named != "/tmp") return named;
  return std::filesystem::is_directory("/var/tmp", error) ? "/var/tmp" : "/tmp";
}

Result<Spool> Spool::create(const std::string& in) {
  UniqueFd fd = open_nameless(in);
  if (!fd) {
    Error error = fail_errno("making a temporary file in " + in, errno).value();
    error.hint = "set TMPDIR to a directory that can be written to";
    return tl::unexpected(std::move(error));
  }
  return Spool(in, std::move(fd));
}

Result<void> Spool::add(std::string_view bytes) {
  waiting_ += bytes;
  return waiting_.size() < kBufferBytes ? Result<void>() : write_out();
}

Result<void> Spool::write_out() {
  auto written =
      write_all(fd_.get(), std::as_bytes(std::span(waiting_)), "a temporary file in " + in_);
  if (!written) {
    Error error = std::move(written).error();
    error.hint = "make room there, or set TMPDIR to another directory";
    return tl::unexpected(std::move(error));
  }
  written_bytes_ += waiting_.size();
  waiting_.clear();
  return {};
}

Result<Blob> Spool::finish() && {
  ATOLL_TRY(write_out());
  if (written_bytes_ == 0) return Blob();
  return map_file(fd_.get(), written_bytes_, "a temporary file in " + in_);
}

}  // namespace atl::storage
