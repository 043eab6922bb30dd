#include "sagemaker/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <set>
#include <span>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "storage/file_bytes.h"
#include "storage/key.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;

struct FreeReader {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
using Reader = std::unique_ptr<archive, FreeReader>;

class Unpacker {
 public:
  Unpacker(std::string_view name, const stdfs::path& folder, const ArchiveLimits& limits)
      : name_(name), folder_(folder), limits_(limits) {}

  Result<std::vector<std::string>> run(const storage::Blob& bytes,
                                       const std::function<bool(std::string_view)>& wanted) {
    const Reader reader(archive_read_new());
    if (!reader) return fail(ErrorCode::kIo, "out of memory");
    archive_read_support_format_tar(reader.get());
    archive_read_support_filter_gzip(reader.get());
    if (archive_read_open_memory(reader.get(), bytes.bytes().data(), bytes.size()) != ARCHIVE_OK) {
      return corrupt(reader.get());
    }
    while (true) {
      archive_entry* entry = nullptr;
      const int status = archive_read_next_header(reader.get(), &entry);
      if (status == ARCHIVE_EOF) break;
      // A warning is about an attribute that this locale cannot show; a name that it cannot show is no name below.
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return corrupt(reader.get());
      ATOLL_TRY(take(reader.get(), entry, wanted));
    }
    return std::move(written_);
  }

  // What was unpacked before something was refused.
  void undo() const {
    std::error_code ignored;
    for (const std::string& name : written_) stdfs::remove(folder_ / name, ignored);
    for (auto name = folders_.rbegin(); name != folders_.rend(); ++name) {
      stdfs::remove(folder_ / *name, ignored);
    }
  }

 private:
  tl::unexpected<Error> corrupt(archive* reader) const {
    const char* const why = archive_error_string(reader);
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: is no whole tar or tar.gz: {}",
                            name_,
                            why == nullptr ? "it cannot be read" : why));
  }

  tl::unexpected<Error> refuse(std::string_view entry, std::string_view why) const {
    std::string shown(entry.substr(0, 100));
    for (char& c : shown) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: \"{}\" {}", name_, shown, why),
                "an archive of atoll's holds regular files only; nothing of this one was kept");
  }

  Result<void> take(archive* reader,
                    archive_entry* entry,
                    const std::function<bool(std::string_view)>& wanted) {
    const char* const path = archive_entry_pathname(entry);
    std::string_view name = path == nullptr ? "" : path;
    const auto type = archive_entry_filetype(entry);
    const bool is_link = archive_entry_hardlink(entry) != nullptr || type == AE_IFLNK;
    if (is_link) return refuse(name, "is a link");
    if (type != AE_IFREG && type != AE_IFDIR) return refuse(name, "is neither file nor folder");
    const std::string_view whole = name;
    while (name.starts_with("./")) name.remove_prefix(2);
    if (type == AE_IFDIR) {
      while (name.ends_with('/')) name.remove_suffix(1);
      if (name.empty() || name == ".") return {};
    }
    if (const auto key = storage::check_key(name); !key) {
      return refuse(whole, "is a name that leaves its folder, or none at all");
    }
    if (type == AE_IFDIR) return {};
    if (++files_ > limits_.max_files) {
      return refuse(whole, fmt::format("is one more than {} files", limits_.max_files));
    }
    if (!seen_.emplace(name).second) return refuse(whole, "is there twice");
    const bool keep = wanted == nullptr || wanted(name);
    return keep ? write(reader, std::string(name)) : pass(reader, std::string(name));
  }

  // Bytes are counted also where nobody wants them: they have to be decompressed.
  Result<size_t> read(archive* reader, const std::string& name, std::vector<char>& buffer) {
    const la_ssize_t got = archive_read_data(reader, buffer.data(), buffer.size());
    if (got < 0) return corrupt(reader);
    bytes_ += static_cast<uint64_t>(got);
    if (bytes_ > limits_.max_bytes) {
      return refuse(name, fmt::format("is beyond {} in all", format_bytes(limits_.max_bytes)));
    }
    return static_cast<size_t>(got);
  }

  Result<void> pass(archive* reader, const std::string& name) {
    while (ATOLL_TRY(read(reader, name, buffer_)) > 0) {
    }
    return {};
  }

  Result<void> write(archive* reader, std::string name) {
    ATOLL_TRY(make_folders(name));
    const stdfs::path path = folder_ / name;
    const UniqueFd fd(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!fd) return fail_errno(path.string(), errno);
    written_.push_back(std::move(name));
    while (true) {
      const size_t got = ATOLL_TRY(read(reader, written_.back(), buffer_));
      if (got == 0) return {};
      const std::span<const char> part(buffer_.data(), got);
      ATOLL_TRY(storage::write_all(fd.get(), std::as_bytes(part), path.string()));
    }
  }

  Result<void> make_folders(std::string_view name) {
    for (size_t slash = name.find('/'); slash != std::string_view::npos;
         slash = name.find('/', slash + 1)) {
      std::string parent(name.substr(0, slash));
      if (!folders_.insert(parent).second) continue;
      std::error_code error;
      stdfs::create_directory(folder_ / parent, error);
      if (error) return fail_errno((folder_ / parent).string(), error.value());
    }
    return {};
  }

  const std::string_view name_;
  const stdfs::path& folder_;
  const ArchiveLimits& limits_;
  std::vector<char> buffer_ = std::vector<char>(size_t{1} << 20);
  std::set<std::string, std::less<>> seen_;
  std::set<std::string> folders_;
  std::vector<std::string> written_;
  size_t files_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace

Result<std::vector<std::string>> unpack_archive(
    const storage::Blob& archive,
    std::string_view name,
    const stdfs::path& folder,
    const std::function<bool(std::string_view name)>& wanted,
    const ArchiveLimits& limits) {
  Unpacker unpacker(name, folder, limits);
  auto names = unpacker.run(archive, wanted);
  if (!names) unpacker.undo();
  return names;
}

bool is_archive_name(std::string_view name) {
  return name.ends_with(".tar.gz") || name.ends_with(".tgz");
}

}  // namespace atl::sagemaker
