// Requests of the kernel on their way through the layer: run, answered once, given up where the caller
// is being killed. fuse_operations.cpp says what is run for which request; these files and
// fuse_server.cpp are the only ones that know FUSE.
//
// A process that waits for the network can be killed: it gets its answer (EINTR) at once, and what
// the operation gives later comes to nothing. Other signals do not interrupt, as on NFS: few programs
// expect EINTR of a file.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse3/fuse_lowlevel.h>

#include <cerrno>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "fs/directory_stream.h"
#include "fs/file_layer.h"

namespace atl::fs {

// The userdata of a session. Thread safe.
class FuseRequests {
 public:
  FuseRequests(FileLayer& layer,
               double timeout_s,
               std::map<std::string, std::string, std::less<>> root_xattrs,
               std::function<void(std::string_view)> log)
      : layer(layer),
        timeout_s(timeout_s),
        root_xattrs(std::move(root_xattrs)),
        log(std::move(log)) {}

  FileLayer& layer;
  const double timeout_s;  // how long the kernel believes entries and attributes
  const std::map<std::string, std::string, std::less<>> root_xattrs;
  const std::function<void(std::string_view)> log;

  // nullopt: the caller is being killed and has had its answer. From here on the request may be answered,
  // and so freed, by another thread until claim() has said that it is ours.
  std::optional<uint64_t> begin(fuse_req_t request);
  bool claim(uint64_t id);

  uint64_t open_directory(InodeNumber inode);
  std::shared_ptr<DirectoryStream> directory(uint64_t handle);  // null: no such
  void close_directory(uint64_t handle);

 private:
  struct Unanswered {
    std::thread::id beginning;  // while this thread is in begin()
    bool interrupted = false;   // in there
  };
  static void on_interrupt(fuse_req_t request, void* id);

  std::mutex mutex_;
  std::unordered_map<uint64_t, Unanswered> unanswered_;
  uint64_t next_request_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<DirectoryStream>> directories_;
  uint64_t next_directory_ = 1;
};

const fuse_lowlevel_ops& fuse_operations();

FuseRequests& requests_of(fuse_req_t request);
struct stat stat_of(const Attributes& attributes);
fuse_entry_param entry_of(const FuseRequests& requests, const Attributes& attributes);

// What an operation gives that has nothing to say but that it is done.
struct Done {};

// No exception crosses into libfuse.
template <typename Run>
auto guarded(Run run) -> decltype(run()) {
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return tl::unexpected<FsError>(FsError{ENOMEM, {}});
  } catch (const std::exception& error) {
    return tl::unexpected<FsError>(FsError{EIO, error.what()});
  }
}

// Runs an operation and sends what it gives; `undo` takes back what a caller who is gone would have had.
// `run` gets what belongs to the session and must not touch the request, which may be answered
// meanwhile.
template <typename Run, typename Send, typename Undo>
void answer(fuse_req_t request, Run run, Send send, Undo undo) {
  FuseRequests& requests = requests_of(request);
  const auto id = requests.begin(request);
  if (!id) return;
  auto result = guarded([&] { return run(requests); });
  const bool ours = requests.claim(*id);
  if (!result) {
    const FsError& error = result.error();
    if (!error.reason.empty() && requests.log) requests.log(error.reason);
    if (ours) fuse_reply_err(request, error.error_number);
    return;
  }
  if (!ours || send(*result) == -ENOENT) undo(requests.layer, *result);
}

template <typename Run, typename Send>
void answer(fuse_req_t request, Run run, Send send) {
  answer(request, run, send, [](FileLayer&, const auto&) {});
}

template <typename Run>
void answer_done(fuse_req_t request, Run run) {
  const auto run_to_done = [&](FuseRequests& requests) -> FsResult<Done> {
    ATOLL_TRY(run(requests));
    return Done{};
  };
  answer(request, run_to_done, [&](const Done&) { return fuse_reply_err(request, 0); });
}

// An operation that gives an entry with a lookup. Inode 0: there is none, and the kernel may remember.
template <typename Run>
void answer_entry(fuse_req_t request, Run run) {
  const auto send = [&](const Attributes& attributes) {
    const auto entry = entry_of(requests_of(request), attributes);
    return fuse_reply_entry(request, &entry);
  };
  answer(request, run, send, [](FileLayer& layer, const Attributes& attributes) {
    if (attributes.inode != 0) layer.forget(attributes.inode, 1);
  });
}

template <typename Run>
void answer_attributes(fuse_req_t request, Run run) {
  answer(request, run, [&](const Attributes& attributes) {
    const auto status = stat_of(attributes);
    return fuse_reply_attr(request, &status, requests_of(request).timeout_s);
  });
}

}  // namespace atl::fs
