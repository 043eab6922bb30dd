// In what order the files of a directory are read, and so which come next: that of their names (tar, rsync, scripts
// that sort) or that of their inode numbers (cp, find and rm sort by those: coreutils' savedir, gnulib's fts).
//
// Each file that is read where the order has it doubles the number of those wanted ahead, up to kMostAhead; one
// that is not begins anew. A little disorder is none: several threads may share the work.
//
// Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/file_layer.h"

namespace atl::fs {

class ReadingOrder {
 public:
  struct File {
    std::string name;
    InodeNumber number = 0;
  };
  // In byte order of the names, as a directory is listed.
  explicit ReadingOrder(std::vector<File> files);

  // False: there is no room now; the file is to be asked for again.
  using Fetch = std::function<bool(const File&)>;
  // The file is being read: `fetch` gets those that are wanted now, each once as long as the order is kept. False
  // where the name is not there, which changes nothing.
  bool read(std::string_view name, const Fetch& fetch);
  // Whoever has read the directory before this one in an order goes on with this one in the same. Before the first read().
  void go_on_from(const ReadingOrder& before);
  // Whether the directory has been read in an order, to the end or nearly.
  bool is_kept() const;
  size_t size() const { return files_.size(); }

  static constexpr size_t kMostAhead = 64;

 private:
  // Reading along one of the orders.
  struct Run {
    std::vector<uint32_t> order;  // index in files_, by place; empty: the files' own
    std::vector<uint32_t> place;  // the inverse
    size_t at = 0;                // the furthest place read
    size_t kept = 0;              // files read in order so far
    size_t from_before = 0;       // the same, in the directory before
    size_t asked = 0;             // the places below have been asked for

    size_t place_of(size_t index) const { return place.empty() ? index : place[index]; }
    size_t index_at(size_t p) const { return order.empty() ? p : order[p]; }
  };
  bool was_read_to_the_end(const Run& run) const;
  bool advance(Run& run, size_t place) const;
  void ask(Run& run, const Fetch& fetch);

  std::vector<File> files_;
  std::array<Run, 2> runs_;
  bool begun_ = false;
};

}  // namespace atl::fs
