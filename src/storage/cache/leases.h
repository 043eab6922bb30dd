// Who is fetching what: a lease for each block under way, DIR/leases/NAME, so that of all processes on all
// machines one fetches it.
//
// A process has one file that says who it is and carries a count that it raises while it holds leases; a
// lease is a hard link to it under the block's name. So a lease is there whole or not at all, whoever
// makes it first has it, and one write keeps all of a process's leases alive.
//
// A lease ends by being removed, or with its holder. On the same machine a holder that is dead is seen at
// once, by its process id and start time. Elsewhere, a lease whose file has not changed for kDeadAfter by
// the reader's own clock has ended; clocks are never compared. A holder that was only slow may so lose its
// lease and two may fetch the same block; both then publish the same bytes, which does no harm.
//
// Where links cannot be made, there are no leases, and each process fetches for itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/unique_fd.h"
#include "storage/cache/block_files.h"
#include "storage/cache/process_identity.h"

namespace atl::storage {

// What a process's file says.
struct LeaseText {
  uint64_t beats = 0;
  ProcessIdentity holder;
  std::string host;  // for people

  std::string encode() const;
  static std::optional<LeaseText> parse(std::string_view text);
};

// Thread safe.
class Leases {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;
  static constexpr std::chrono::seconds kBeat{2};
  static constexpr std::chrono::seconds kDeadAfter{20};

  Leases(BlockFiles& files, ProcessIdentity self, std::string host, Clock clock);
  ~Leases();
  Leases(const Leases&) = delete;
  Leases& operator=(const Leases&) = delete;

  enum class Taken { kYes, kHeldByOther, kNoLeasesHere };
  // Takes over what a dead holder left.
  Taken take(uint64_t id);
  void give_back(uint64_t id);
  // Whether somebody who may be alive holds it.
  bool is_held(uint64_t id);
  // To be called often; raises the count when it is time, and removes what could not be removed before.
  void beat();
  // Removes the leases and files of processes that have ended.
  void clean();

 private:
  struct File {
    uint64_t inode = 0;
    std::string text;
    bool operator==(const File&) const = default;
  };
  struct Seen {
    File file;
    std::chrono::steady_clock::time_point since;
  };

  bool make_own_file();
  Taken count_held();
  bool is_stuck(const std::string& name);
  bool remove_own(const std::string& name);
  std::optional<File> read(const std::string& name);
  bool has_ended(const std::string& name, const File& file);
  bool bury(const std::string& name, const File& dead);
  bool is_leftover(const std::string& name);

  BlockFiles& files_;
  const Clock clock_;
  const std::string own_name_;
  std::mutex mutex_;
  LeaseText own_;
  UniqueFd own_file_;
  uint64_t own_inode_ = 0;
  int64_t own_modified_s_ = 0;  // by the file system's clock
  uint64_t held_ = 0;
  uint64_t buried_ = 0;
  std::chrono::steady_clock::time_point beaten_;
  std::unordered_map<std::string, Seen> seen_;
  std::unordered_set<std::string> stuck_;  // given back, but not gone from the disk
};

}  // namespace atl::storage
