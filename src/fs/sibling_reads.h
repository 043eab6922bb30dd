// Small files that are read one after the other come ahead: the next ones of a directory are fetched into the
// layer's memory before they are opened. Otherwise each would cost a program the whole way to the bucket and
// back, as it reads them one by one.
//
// A thread of its own lists a directory once a second file in it is read, or the first where the directory
// before was read to its end, and follows the order that its files are read in (fs/reading_order.h). What is
// fetched has half of BlockMemory's room, gives way to every reader's own read-ahead, and comes behind
// everything that is wanted now. A hint: nothing here fails a read.
//
// Thread safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "fs/reading_order.h"
#include "fs/tree.h"

namespace atl::fs {

class SiblingReads {
 public:
  explicit SiblingReads(Tree& tree);
  ~SiblingReads();  // waits for a look-up that is under way
  SiblingReads(const SiblingReads&) = delete;
  SiblingReads& operator=(const SiblingReads&) = delete;

  // A program begins to read the file. Waits for the tree's lock, never for the network.
  void begun(const NodePtr& file);

 private:
  struct Begun {
    InodeNumber directory = 0;
    std::string name;
  };
  struct Watched {
    InodeNumber directory = 0;
    std::optional<ReadingOrder> order;  // none: one file has been read
    std::string first_name;
    bool too_large = false;
    int unknown_names = 0;  // read, and not in the order
  };

  void run();
  void follow(const Begun& begun);
  Watched& watched(InodeNumber directory);
  void list(Watched& watched);
  void forget_old();
  bool fetch(InodeNumber number, const std::string& name);

  Tree& tree_;
  std::list<Watched> watched_;  // the thread's own; the latest in front
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Begun> waiting_;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace atl::fs
