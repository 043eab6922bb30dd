#include "sagemaker/channel_data.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "storage/file_bytes.h"
#include "storage/key.h"
#include "storage/open_s3.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;

// Enough to fill a fast network with small files; S3 gives one connection some 80 MB/s.
constexpr size_t kDownloads = 16;
constexpr uint64_t kRangeBytes = uint64_t{16} << 20;

Error cancelled() { return {ErrorCode::kCancelled, "staging the channels: stopped", {}, {}}; }

// What several threads count and fail together.
class Tally {
 public:
  Tally(const StageProgress& progress, uint64_t files_in_all, uint64_t bytes_in_all)
      : progress_(progress), data_{0, 0, files_in_all, bytes_in_all} {}

  void add(uint64_t files, uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    data_.files += files;
    data_.bytes += bytes;
    if (progress_) progress_(data_);
  }
  void fail(Error error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
  }
  bool failed() const { return failed_; }
  Result<StagedData> result() {
    const std::lock_guard lock(mutex_);
    if (error_) return tl::unexpected(*error_);
    return data_;
  }

 private:
  const StageProgress& progress_;
  std::mutex mutex_;
  StagedData data_;
  std::optional<Error> error_;
  std::atomic<bool> failed_ = false;
};

Result<void> make_parents(const stdfs::path& file) {
  std::error_code error;
  stdfs::create_directories(file.parent_path(), error);
  if (error) return fail_errno(file.parent_path().string(), error.value());
  return {};
}

Result<void> write_ranges(storage::Remote& remote,
                          const storage::ObjectInfo& object,
                          const UniqueFd& fd,
                          const std::string& path,
                          Tally& tally,
                          const std::stop_token& stop) {
  for (uint64_t at = 0; at < object.size_bytes; at += kRangeBytes) {
    if (stop.stop_requested()) return tl::unexpected(cancelled());
    if (tally.failed()) return {};
    const uint64_t size = std::min(kRangeBytes, object.size_bytes - at);
    // All bytes of one version.
    auto part = ATOLL_TRY(remote.read({object.key, at, size, object.etag}));
    if (part.bytes.size() != size) {
      return fail(
          ErrorCode::kConflict,
          fmt::format("{}/{}: has become shorter while it was read", remote.uri(), object.key));
    }
    ATOLL_TRY(storage::write_all(fd.get(), part.bytes.bytes(), path));
    tally.add(0, size);
  }
  return {};
}

Result<void> download_one(storage::Remote& remote,
                          const storage::ObjectInfo& object,
                          const stdfs::path& folder,
                          Tally& tally,
                          const std::stop_token& stop) {
  const stdfs::path file = folder / object.key;
  ATOLL_TRY(make_parents(file));
  const std::string unfinished =
      (file.parent_path() /
       fmt::format("{}{}", storage::kTemporaryPrefix, file.filename().string()))
          .string();
  const UniqueFd fd(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return fail_errno(unfinished, errno);
  ATOLL_TRY(write_ranges(remote, object, fd, unfinished, tally, stop));
  if (tally.failed()) return {};
  if (::rename(unfinished.c_str(), file.c_str()) != 0) return fail_errno(file.string(), errno);
  tally.add(1, 0);
  return {};
}

Result<std::vector<storage::ObjectInfo>> list_objects(storage::Remote& remote,
                                                      const Shard& shard,
                                                      const std::stop_token& stop) {
  std::vector<storage::ObjectInfo> objects;
  size_t place = 0;
  std::string next;
  do {
    if (stop.stop_requested()) return tl::unexpected(cancelled());
    auto page = ATOLL_TRY(remote.list_page("", next));
    for (storage::ObjectInfo& object : page.objects) {
      if (object.key.ends_with('/')) continue;
      if (!storage::check_key(object.key)) {
        return fail(
            ErrorCode::kUnsupported,
            fmt::format("{}: the key \"{}\" cannot be a file's name", remote.uri(), object.key),
            "rename the object, or take mode = \"InPlace\"");
      }
      if (place++ % shard.count == shard.index) objects.push_back(std::move(object));
    }
    next = std::move(page.next);
  } while (!next.empty());
  if (place == 0) {
    return fail(ErrorCode::kNotFound,
                fmt::format("{} holds no objects", remote.uri()),
                "check the prefix: it is a folder's name, not the beginning of one");
  }
  return objects;
}

Result<void> link_or_copy(const stdfs::path& from, const stdfs::path& to) {
  ATOLL_TRY(make_parents(to));
  // What a link leads to, not the link: from here it would lead elsewhere.
  if (::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW) == 0) return {};
  // Another file system, or a file that is somebody else's (fs.protected_hardlinks).
  std::error_code error;
  stdfs::copy_file(from, to, stdfs::copy_options::overwrite_existing, error);
  if (error) {
    return fail_errno(fmt::format("copying {} to {}", from.string(), to.string()), error.value());
  }
  return {};
}

// As names below `prefix`. A link to a folder is followed (train2017 -> /data/coco/train2017), those behind it are not: they
// could lead in circles.
Result<void> add_files(const stdfs::path& from,
                       const stdfs::path& prefix,
                       bool follow,
                       std::vector<stdfs::path>& files) {
  std::error_code error;
  stdfs::recursive_directory_iterator entry(from, error);
  for (; !error && entry != stdfs::recursive_directory_iterator(); entry.increment(error)) {
    const stdfs::path name = prefix / entry->path().lexically_relative(from);
    std::error_code unknown;  // a link to nothing
    if (entry->is_regular_file(unknown)) {
      files.push_back(name);
    } else if (follow && entry->is_symlink(unknown) && entry->is_directory(unknown)) {
      ATOLL_TRY(add_files(entry->path(), name, /*follow=*/false, files));
    }
  }
  if (error) return fail_errno(fmt::format("reading {}", from.string()), error.value());
  return {};
}

Result<std::vector<stdfs::path>> list_files(const stdfs::path& from) {
  std::vector<stdfs::path> files;
  ATOLL_TRY(add_files(from, {}, /*follow=*/true, files));
  std::ranges::sort(files);
  return files;
}

}  // namespace

Result<StagedData> download_objects(storage::Remote& remote,
                                    const stdfs::path& folder,
                                    const Shard& shard,
                                    const StageProgress& progress,
                                    const std::stop_token& stop) {
  const auto objects = ATOLL_TRY(list_objects(remote, shard, stop));
  ATOLL_TRY(make_parents(folder / "x"));
  uint64_t bytes_in_all = 0;
  for (const storage::ObjectInfo& object : objects) bytes_in_all += object.size_bytes;
  Tally tally(progress, objects.size(), bytes_in_all);
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    while (!tally.failed()) {
      const size_t i = next++;
      if (i >= objects.size()) return;
      auto done = download_one(remote, objects[i], folder, tally, stop);
      if (!done) tally.fail(std::move(done).error());
    }
  };
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < std::min(kDownloads, objects.size()); ++i) threads.emplace_back(work);
  }
  return tally.result();
}

Result<StagedData> download_object(storage::Remote& remote,
                                   std::string_view key,
                                   const stdfs::path& folder,
                                   const StageProgress& progress,
                                   const std::stop_token& stop) {
  ATOLL_TRY(storage::check_key(key));
  const auto object = ATOLL_TRY(remote.stat(key));
  Tally tally(progress, 1, object.info.size_bytes);
  storage::ObjectInfo info = object.info;
  info.key = key;
  ATOLL_TRY(download_one(remote, info, folder, tally, stop));
  return tally.result();
}

Result<StagedData> copy_folder(const stdfs::path& from,
                               const stdfs::path& folder,
                               const Shard& shard,
                               const StageProgress& progress,
                               const std::stop_token& stop) {
  std::error_code error;
  if (!stdfs::is_directory(from, error)) {
    return fail(ErrorCode::kNotFound, fmt::format("{} is no folder", from.string()));
  }
  const auto files = ATOLL_TRY(list_files(from));
  ATOLL_TRY(make_parents(folder / "x"));
  const size_t share = (files.size() + shard.count - 1 - shard.index) / shard.count;
  Tally tally(progress, share, 0);
  for (size_t i = shard.index; i < files.size(); i += shard.count) {
    if (stop.stop_requested()) return tl::unexpected(cancelled());
    ATOLL_TRY(link_or_copy(from / files[i], folder / files[i]));
    const uint64_t bytes = stdfs::file_size(folder / files[i], error);
    tally.add(1, error ? 0 : bytes);
  }
  return tally.result();
}

Result<StagedData> stage_data(const std::string& source,
                              const stdfs::path& folder,
                              const Shard& shard,
                              const StageProgress& progress,
                              const std::stop_token& stop) {
  if (!storage::is_s3_uri(source)) return copy_folder(source, folder, shard, progress, stop);
  const auto bucket = ATOLL_TRY(storage::open_bucket(source));
  auto data = download_objects(*bucket.remote, folder, shard, progress, stop);
  if (data || data.error().code != ErrorCode::kNotFound) return data;
  const std::string uri = bucket.remote->uri();
  const size_t slash = uri.rfind('/');
  constexpr size_t kBucket = 5;  // behind s3://
  if (slash == std::string::npos || slash <= kBucket) return data;
  const auto parent = ATOLL_TRY(storage::open_bucket(uri.substr(0, slash)));
  auto object = download_object(*parent.remote, uri.substr(slash + 1), folder, progress, stop);
  return object ? object : data;
}

}  // namespace atl::sagemaker
