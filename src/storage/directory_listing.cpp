// Byte order of whole paths is not the order of names level by level: "a.txt" comes before "a/b",
// because '.' is less than '/'. Sorting each directory with '/' behind the names of directories
// gives it without holding more than one directory per level in memory.
#include "storage/directory_listing.h"

#include <dirent.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "storage/key.h"

namespace atl::storage {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

struct Entry {
  std::string name;  // with a '/' behind a directory's
  struct stat status;
};

class Walk {
 public:
  Walk(const std::string& root,
       std::string_view prefix,
       const std::function<bool(const ObjectInfo&)>& visit)
      : root_(root.ends_with('/') ? root : root + '/'), prefix_(prefix), visit_(visit) {}

  // False: the visitor has had enough. `directory` is a key prefix: "" or "train2017/".
  Result<bool> run(const std::string& directory) {
    for (Entry& entry : ATOLL_TRY(entries_of(directory))) {
      std::string key = directory + entry.name;
      if (!S_ISDIR(entry.status.st_mode)) {
        if (!visit_(file_info(std::move(key), entry.status))) return false;
        continue;
      }
      // A link to one of its own parents would never end.
      const std::pair identity(entry.status.st_dev, entry.status.st_ino);
      if (std::ranges::find(parents_, identity) != parents_.end()) continue;
      parents_.push_back(identity);
      if (!ATOLL_TRY(run(key))) return false;
      parents_.pop_back();
    }
    return true;
  }

  void enter(const struct stat& status) { parents_.emplace_back(status.st_dev, status.st_ino); }
  std::string path_of(std::string_view key) const { return root_ + std::string(key); }

 private:
  Result<std::vector<Entry>> entries_of(const std::string& directory) const {
    std::vector<Entry> entries;
    const std::string path = path_of(directory);
    const std::unique_ptr<DIR, CloseDirectory> stream(::opendir(path.c_str()));
    if (!stream) {
      if (errno == ENOENT || errno == ENOTDIR) return entries;
      return fail_errno("listing " + path, errno);
    }
    for (;;) {
      errno = 0;
      const dirent* found = ::readdir(stream.get());
      if (found == nullptr && errno != 0) return fail_errno("listing " + path, errno);
      if (found == nullptr) break;
      Entry entry{found->d_name, {}};
      if (entry.name == "." || entry.name == ".." || entry.name.starts_with(kTemporaryPrefix)) {
        continue;
      }
      // Cheaper than asking about each of 118,000 images when one is wanted.
      if (!may_match(directory + entry.name)) continue;
      // What vanished meanwhile, or is a link to nowhere, is not there.
      if (::fstatat(::dirfd(stream.get()), found->d_name, &entry.status, 0) != 0) continue;
      if (S_ISDIR(entry.status.st_mode)) {
        entry.name += '/';
      } else if (!S_ISREG(entry.status.st_mode) || !matches(directory + entry.name)) {
        continue;
      }
      entries.push_back(std::move(entry));
    }
    std::ranges::sort(entries, {}, &Entry::name);
    return entries;
  }

  bool matches(const std::string& key) const { return key.starts_with(prefix_); }
  // Whether the key, or one under it where it is a directory, can match.
  bool may_match(const std::string& key) const {
    return matches(key) || prefix_.starts_with(key + '/');
  }

  std::string root_;
  std::string_view prefix_;
  const std::function<bool(const ObjectInfo&)>& visit_;
  std::vector<std::pair<dev_t, ino_t>> parents_;
};

}  // namespace

ObjectInfo file_info(std::string key, const struct stat& status) {
  const auto since_epoch = std::chrono::seconds(status.st_mtim.tv_sec) +
                           std::chrono::nanoseconds(status.st_mtim.tv_nsec);
  return {std::move(key),
          static_cast<uint64_t>(status.st_size),
          std::chrono::system_clock::time_point(since_epoch),
          fmt::format("{:x}-{:x}-{:x}", status.st_ino, status.st_size, since_epoch.count())};
}

Result<void> list_directory(const std::string& root,
                            std::string_view prefix,
                            const std::function<bool(const ObjectInfo&)>& visit) {
  Walk walk(root, prefix, visit);
  // Whole components of the prefix need no listing.
  const std::string directory(prefix.substr(0, prefix.rfind('/') + 1));
  struct stat status;
  if (::stat(walk.path_of(directory).c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    return fail_errno("listing " + walk.path_of(directory), errno);
  }
  walk.enter(status);
  ATOLL_TRY(walk.run(directory));
  return {};
}

}  // namespace atl::storage
