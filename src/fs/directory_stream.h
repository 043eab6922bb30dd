// An open directory as the kernel reads it: entries by position, fetched from the layer some hundred at
// a time, in the order of their names. What is made or removed meanwhile may be shown or not, and
// nothing else is left out or shown twice.
#pragma once

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "fs/file_layer.h"

namespace atl::fs {

// Thread safe. The layer must outlive it.
class DirectoryStream {
 public:
  DirectoryStream(FileLayer& layer, InodeNumber directory) : layer_(layer), directory_(directory) {}
  ~DirectoryStream() { drop_page(); }
  DirectoryStream(const DirectoryStream&) = delete;
  DirectoryStream& operator=(const DirectoryStream&) = delete;

  // Shows the entries from `position` on, each with its own position, until `visit` returns false or the
  // directory ends. Position 0 reads the directory anew. An entry for which `visit` returns true has
  // been handed to the kernel, with one lookup where `count_lookups`; inode 0: it was shown before and
  // is not there any more.
  FsResult<void> read(uint64_t position,
                      bool count_lookups,
                      const std::function<bool(uint64_t position, const NamedAttributes&)>& visit);

 private:
  struct Entry {
    NamedAttributes named;
    bool counted = false;  // the layer counts a lookup that the kernel has not been given
  };

  bool holds(uint64_t position) const {
    return position >= page_start_ && position < page_start_ + page_.size();
  }
  FsResult<void> load(uint64_t position, bool count_lookups);
  void drop_page();
  NamedAttributes looked_up(const NamedAttributes& named);

  FileLayer& layer_;
  const InodeNumber directory_;
  std::mutex mutex_;
  std::vector<Entry> page_;
  uint64_t page_start_ = 0;  // position of page_[0]
  bool last_page_ = false;
  // Where pages begin: a position and the name before it.
  std::vector<std::pair<uint64_t, std::string>> starts_;
};

}  // namespace atl::fs
