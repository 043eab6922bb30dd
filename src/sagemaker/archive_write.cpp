#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <vector>

#include "base/unique_fd.h"
#include "sagemaker/archive.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;

struct FreeWriter {
  void operator()(archive* writer) const { archive_write_free(writer); }
};
struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using Writer = std::unique_ptr<archive, FreeWriter>;
using Entry = std::unique_ptr<archive_entry, FreeEntry>;

tl::unexpected<Error> failed(archive* writer, const stdfs::path& file) {
  const char* const why = archive_error_string(writer);
  return fail(ErrorCode::kIo,
              fmt::format("writing {}: {}", file.string(), why == nullptr ? "failed" : why));
}

// Names below the folders, and where they are.
using Files = std::map<std::string, stdfs::path>;

Result<void> collect(const stdfs::path& folder, Files& files, ArchiveContents& contents) {
  std::error_code error;
  if (!stdfs::exists(folder, error)) return {};
  stdfs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != stdfs::recursive_directory_iterator(); entry.increment(error)) {
    const auto status = entry->symlink_status(error);
    if (error) break;
    if (stdfs::is_directory(status)) continue;
    if (!stdfs::is_regular_file(status)) {
      contents.notes.push_back(fmt::format("{}: is no regular file", entry->path().string()));
      continue;
    }
    const std::string name = entry->path().lexically_relative(folder).string();
    if (!files.emplace(name, entry->path()).second) {
      contents.notes.push_back(
          fmt::format("{}: another host has a file of this name", entry->path().string()));
    }
  }
  if (error) return fail_errno(fmt::format("reading {}", folder.string()), error.value());
  return {};
}

// A file that shrinks while it is read would leave the archive broken, so that is an error.
Result<void> add_file(archive* writer,
                      const std::string& name,
                      const stdfs::path& path,
                      const stdfs::path& file,
                      ArchiveContents& contents) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) return fail_errno(path.string(), errno);
  const Entry entry(archive_entry_new());
  if (!entry) return fail(ErrorCode::kIo, "out of memory");
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), (status.st_mode & S_IXUSR) != 0 ? 0755 : 0644);
  archive_entry_set_mtime(entry.get(), status.st_mtim.tv_sec, 0);
  archive_entry_set_size(entry.get(), status.st_size);
  if (archive_write_header(writer, entry.get()) != ARCHIVE_OK) return failed(writer, file);
  constexpr size_t kBufferBytes = size_t{1} << 20;
  std::vector<char> buffer(kBufferBytes);
  auto left = static_cast<uint64_t>(status.st_size);
  while (left > 0) {
    const ssize_t got = ::read(fd.get(), buffer.data(), std::min<uint64_t>(left, buffer.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(path.string(), errno);
    if (got == 0) {
      return fail(ErrorCode::kIo, fmt::format("{}: has become shorter", path.string()));
    }
    if (archive_write_data(writer, buffer.data(), static_cast<size_t>(got)) != got) {
      return failed(writer, file);
    }
    left -= static_cast<uint64_t>(got);
  }
  ++contents.files;
  contents.bytes += static_cast<uint64_t>(status.st_size);
  return {};
}

Result<void> write_files(archive* writer,
                         const Files& files,
                         const stdfs::path& file,
                         ArchiveContents& contents) {
  for (const auto& [name, path] : files) {
    ATOLL_TRY(add_file(writer, name, path, file, contents));
  }
  if (archive_write_close(writer) != ARCHIVE_OK) return failed(writer, file);
  return {};
}

}  // namespace

Result<ArchiveContents> write_archive(std::span<const stdfs::path> folders,
                                      const stdfs::path& file,
                                      bool compressed) {
  ArchiveContents contents;
  Files files;
  for (const stdfs::path& folder : folders) ATOLL_TRY(collect(folder, files, contents));
  const stdfs::path unfinished = file.string() + ".unfinished";
  const UniqueFd fd(
      ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd) return fail_errno(unfinished.string(), errno);
  const Writer writer(archive_write_new());
  if (!writer) return fail(ErrorCode::kIo, "out of memory");
  // Names go in as the bytes that they are, whatever the locale; pax would want to know their characters.
  archive_write_set_format_gnutar(writer.get());
  if (compressed && archive_write_add_filter_gzip(writer.get()) != ARCHIVE_OK) {
    return failed(writer.get(), file);
  }
  if (compressed) archive_write_set_filter_option(writer.get(), "gzip", "timestamp", nullptr);
  Result<void> written = {};
  if (archive_write_open_fd(writer.get(), fd.get()) != ARCHIVE_OK) {
    written = failed(writer.get(), file);
  } else {
    written = write_files(writer.get(), files, file, contents);
  }
  if (written && ::fsync(fd.get()) != 0) written = fail_errno(unfinished.string(), errno);
  if (written && ::rename(unfinished.c_str(), file.c_str()) != 0) {
    written = fail_errno(file.string(), errno);
  }
  if (!written) {
    ::unlink(unfinished.c_str());
    return tl::unexpected(std::move(written).error());
  }
  return contents;
}

}  // namespace atl::sagemaker
