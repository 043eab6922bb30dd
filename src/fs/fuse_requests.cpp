#include "fs/fuse_requests.h"

#include <fmt/format.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>

namespace atl::fs {
namespace {

constexpr uint32_t kBlock_bytes = 4096;
constexpr uint32_t kStatBlock_bytes = 512;  // st_blocks counts these

// A signal that ends a process has been turned into SIGKILL for each of its threads.
bool is_being_killed(pid_t thread) {
  constexpr std::string_view kPending = "SigPnd:\t";
  constexpr int kHex = 16;
  std::ifstream status(fmt::format("/proc/{}/status", thread));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(kPending)) continue;
    const uint64_t pending = std::strtoull(line.c_str() + kPending.size(), nullptr, kHex);
    return (pending >> (SIGKILL - 1) & 1) != 0;
  }
  return false;
}

}  // namespace

FuseRequests& requests_of(fuse_req_t request) {
  return *static_cast<FuseRequests*>(fuse_req_userdata(request));
}

struct stat stat_of(const Attributes& attributes) {
  struct stat result {};
  result.st_ino = attributes.inode;
  result.st_mode = attributes.mode;
  result.st_nlink = attributes.links;
  result.st_uid = attributes.uid;
  result.st_gid = attributes.gid;
  result.st_size = static_cast<off_t>(attributes.size_bytes);
  result.st_blksize = kBlock_bytes;
  result.st_blocks =
      static_cast<blkcnt_t>((attributes.size_bytes + kStatBlock_bytes - 1) / kStatBlock_bytes);
  result.st_atim = attributes.accessed;
  result.st_mtim = attributes.modified;
  result.st_ctim = attributes.changed;
  return result;
}

fuse_entry_param entry_of(const FuseRequests& requests, const Attributes& attributes) {
  fuse_entry_param entry{};
  entry.ino = attributes.inode;
  entry.attr = stat_of(attributes);
  entry.attr_timeout = entry.entry_timeout = requests.timeout_s;
  return entry;
}

// libfuse calls back with the request held: from its own thread while another one works on it, or from
// within the registration, where the interrupt came first. In there the request must not be
// answered, for libfuse touches it once more.
void FuseRequests::on_interrupt(fuse_req_t request, void* id_as_pointer) {
  FuseRequests& requests = requests_of(request);
  const auto id = reinterpret_cast<uint64_t>(id_as_pointer);
  {
    const std::lock_guard lock(requests.mutex_);
    const auto found = requests.unanswered_.find(id);
    if (found == requests.unanswered_.end()) return;
    if (found->second.beginning == std::this_thread::get_id()) {
      found->second.interrupted = true;
      return;
    }
  }
  if (is_being_killed(fuse_req_ctx(request)->pid) && requests.claim(id)) {
    fuse_reply_err(request, EINTR);
  }
}

std::optional<uint64_t> FuseRequests::begin(fuse_req_t request) {
  const pid_t caller = fuse_req_ctx(request)->pid;
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = next_request_++;
    unanswered_[id].beginning = std::this_thread::get_id();
  }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): a number that libfuse hands back
  fuse_req_interrupt_func(request, on_interrupt, reinterpret_cast<void*>(id));
  bool interrupted = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = unanswered_.find(id);
    if (found == unanswered_.end()) return std::nullopt;  // answered from another thread
    found->second.beginning = {};
    interrupted = found->second.interrupted;
  }
  if (!interrupted || !is_being_killed(caller)) return id;
  if (claim(id)) fuse_reply_err(request, EINTR);
  return std::nullopt;
}

bool FuseRequests::claim(uint64_t id) {
  const std::lock_guard lock(mutex_);
  return unanswered_.erase(id) == 1;
}

uint64_t FuseRequests::open_directory(InodeNumber inode) {
  const std::lock_guard lock(mutex_);
  directories_[next_directory_] = std::make_shared<DirectoryStream>(layer, inode);
  return next_directory_++;
}

std::shared_ptr<DirectoryStream> FuseRequests::directory(uint64_t handle) {
  const std::lock_guard lock(mutex_);
  const auto found = directories_.find(handle);
  return found == directories_.end() ? nullptr : found->second;
}

void FuseRequests::close_directory(uint64_t handle) {
  std::shared_ptr<DirectoryStream> closed;  // its destructor asks the layer, without our lock
  const std::lock_guard lock(mutex_);
  const auto found = directories_.find(handle);
  if (found == directories_.end()) return;
  closed = std::move(found->second);
  directories_.erase(found);
}

}  // namespace atl::fs
