// Objects in the byte order of their whole keys, out of a table that is ordered by directory.
//
// Within a directory, names come in byte order; but the keys in the directory "a" begin with "a/" and
// lie behind the object "a-b", whose name lies behind "a". So a directory waits until the next name
// is behind "a/"; those that wait are prefixes of each other, so they wait on a stack.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "storage/namespace/entries.h"

namespace atl::storage {

struct WalkedObject {
  std::string key;
  EntryRow row;
};

// Within one transaction. The writer may change objects that it has passed, or put new ones before
// the one that next() gave last.
class KeyWalk {
 public:
  // From `first` on.
  KeyWalk(NamesConnection& connection, std::string first);
  Result<std::optional<WalkedObject>> next();

 private:
  struct Waiting {
    EntryRow row;
    std::string first;  // where to begin in it; "": with its own object
  };
  struct Frame {
    int64_t id = 0;
    std::string path;  // "a/b/"
    std::vector<EntryRow> rows;
    size_t at = 0;
    int limit = 8;  // of rows at a time; grows, as most walks are short
    bool ended = false;
    std::vector<Waiting> waiting;
  };

  Result<void> enter(int64_t id, std::string path, const std::string& first);
  Result<void> enter_waiting();
  Result<void> fetch_more(Frame& frame);

  NamesConnection& c_;
  std::string first_;
  bool started_ = false;
  std::vector<Frame> frames_;
  std::optional<WalkedObject> own_;  // the object of the directory just entered
};

}  // namespace atl::storage
