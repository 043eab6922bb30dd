#include "sagemaker/checkpoint_sync.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "base/unique_fd.h"
#include "storage/file_bytes.h"
#include "storage/key.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;

Result<storage::Blob> read_file(const stdfs::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail_errno(path.string(), errno);
  // Of this very file: another may have its name by now, and reading a map beyond a file's end is a SIGBUS.
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(path.string(), errno);
  if (status.st_size == 0) return storage::Blob();
  return storage::map_file(fd.get(), static_cast<uint64_t>(status.st_size), path.string());
}

}  // namespace

Result<std::map<std::string, CheckpointSync::Seen>> CheckpointSync::look() const {
  std::map<std::string, Seen> files;
  std::error_code error;
  if (!stdfs::exists(folder_, error)) return files;
  stdfs::recursive_directory_iterator entry(folder_, error);
  for (; !error && entry != stdfs::recursive_directory_iterator(); entry.increment(error)) {
    // The program goes on writing and removing meanwhile.
    std::error_code gone;
    if (!entry->is_regular_file(gone) || entry->is_symlink(gone)) continue;
    std::string name = entry->path().lexically_relative(folder_).string();
    if (!storage::check_key(name)) continue;
    const Seen seen{entry->file_size(gone), entry->last_write_time(gone)};
    if (!gone) files.emplace(std::move(name), seen);
  }
  if (error) return fail_errno(fmt::format("reading {}", folder_.string()), error.value());
  return files;
}

Result<size_t> CheckpointSync::restore() {
  std::error_code error;
  stdfs::create_directories(folder_, error);
  if (error) return fail_errno(folder_.string(), error.value());
  std::vector<std::string> keys;
  ATOLL_TRY(store_.list("", [&](const storage::ObjectInfo& object) {
    keys.push_back(object.key);
    return true;
  }));
  for (const std::string& key : keys) {
    ATOLL_TRY(storage::check_key(key));
    const auto content = ATOLL_TRY(store_.get(key));
    const stdfs::path path = folder_ / key;
    stdfs::create_directories(path.parent_path(), error);
    if (error) return fail_errno(path.parent_path().string(), error.value());
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd) return fail_errno(path.string(), errno);
    ATOLL_TRY(storage::write_all(fd.get(), content.bytes(), path.string()));
  }
  before_ = ATOLL_TRY(look());
  stored_ = before_;
  return keys.size();
}

Result<size_t> CheckpointSync::synchronise(bool last) {
  size_t changes = 0;
  auto now = ATOLL_TRY(look());
  for (const auto& [name, seen] : now) {
    const auto stored = stored_.find(name);
    if (stored != stored_.end() && stored->second == seen) continue;
    const auto before = before_.find(name);
    const bool is_settled = before != before_.end() && before->second == seen;
    if (!last && !is_settled) continue;
    auto content = read_file(folder_ / name);
    if (!content && content.error().code == ErrorCode::kNotFound) continue;
    if (!content) return tl::unexpected(std::move(content).error());
    const std::array<std::span<const std::byte>, 1> parts = {content->bytes()};
    ATOLL_TRY(store_.put(name, parts));
    stored_.insert_or_assign(name, seen);
    ++changes;
  }
  for (auto stored = stored_.begin(); stored != stored_.end();) {
    if (now.contains(stored->first)) {
      ++stored;
      continue;
    }
    ATOLL_TRY(store_.remove(stored->first));
    stored = stored_.erase(stored);
    ++changes;
  }
  before_ = std::move(now);
  return changes;
}

}  // namespace atl::sagemaker
