// FakeFileLayer's extended attributes, statistics and the jobs of `atoll fs`.
#include <fmt/format.h>
#include <sys/xattr.h>

#include <cerrno>

#include "fs/fake_file_layer.h"

namespace atl::fs {
namespace {

constexpr uint64_t kBlocks = 1000;
constexpr uint64_t kBlock_bytes = 4096;

tl::unexpected<FsError> no(int error_number) {
  return tl::unexpected<FsError>(FsError{error_number, {}});
}

// As an Error, for the jobs.
tl::unexpected<Error> as_error(const FsError& error, const std::string& what) {
  return fail_errno(what, error.error_number);
}

}  // namespace

FsResult<std::string> FakeFileLayer::xattr(InodeNumber inode, std::string_view name) {
  const auto lock = ATOLL_TRY(enter(fmt::format("xattr {} {}", inode, name)));
  const Node* const found = ATOLL_TRY(node(inode));
  const auto value = found->xattrs.find(name);
  if (value == found->xattrs.end()) return no(ENODATA);
  return value->second;
}

FsResult<std::vector<std::string>> FakeFileLayer::xattrs(InodeNumber inode) {
  const auto lock = ATOLL_TRY(enter(fmt::format("xattrs {}", inode)));
  const Node* const found = ATOLL_TRY(node(inode));
  std::vector<std::string> names;
  for (const auto& [name, value] : found->xattrs) names.push_back(name);
  return names;
}

FsResult<void> FakeFileLayer::set_xattr(InodeNumber inode,
                                        std::string_view name,
                                        std::string_view value,
                                        int flags) {
  const auto lock =
      ATOLL_TRY(enter(fmt::format("set_xattr {} {} {} {}", inode, name, value, flags)));
  Node* const found = ATOLL_TRY(node(inode));
  const bool there = found->xattrs.contains(name);
  if ((flags & XATTR_CREATE) != 0 && there) return no(EEXIST);
  if ((flags & XATTR_REPLACE) != 0 && !there) return no(ENODATA);
  found->xattrs.insert_or_assign(std::string(name), std::string(value));
  return {};
}

FsResult<void> FakeFileLayer::remove_xattr(InodeNumber inode, std::string_view name) {
  const auto lock = ATOLL_TRY(enter(fmt::format("remove_xattr {} {}", inode, name)));
  Node* const found = ATOLL_TRY(node(inode));
  const auto value = found->xattrs.find(name);
  if (value == found->xattrs.end()) return no(ENODATA);
  found->xattrs.erase(value);
  return {};
}

FsResult<struct statvfs> FakeFileLayer::statistics() {
  const auto lock = ATOLL_TRY(enter("statistics"));
  struct statvfs all {};
  all.f_bsize = all.f_frsize = kBlock_bytes;
  all.f_blocks = kBlocks;
  all.f_bfree = all.f_bavail = kBlocks / 2;
  all.f_namemax = 255;
  return all;
}

Result<void> FakeFileLayer::states(std::string_view path,
                                   bool recursive,
                                   const std::function<bool(const FileState&)>& visit) {
  const auto lock = enter(fmt::format("states {} {}", path, recursive));
  if (!lock) return as_error(lock.error(), "states");
  for (const auto& [name, inode] : nodes_.at(kRoot).children) {
    if (!path.empty() && name != path) continue;
    const Attributes& attributes = nodes_.at(inode).attributes;
    const bool directory = S_ISDIR(attributes.mode);
    if (!visit({.path = name,
                .is_directory = directory,
                .exists = true,
                .archived = true,
                .size_bytes = attributes.size_bytes,
                .cached_bytes = attributes.size_bytes})) {
      break;
    }
  }
  return {};
}

Result<Progress> FakeFileLayer::walk(std::string call,
                                     const std::stop_token& stop,
                                     const OnProgress& progress) {
  const auto lock = enter(std::move(call));
  if (!lock) return as_error(lock.error(), "the job");
  Progress done;
  for (const auto& [inode, node] : nodes_) {
    if (!S_ISREG(node.attributes.mode)) continue;
    ++done.files_in_all;
    done.bytes_in_all += node.attributes.size_bytes;
  }
  for (const auto& [inode, node] : nodes_) {
    if (!S_ISREG(node.attributes.mode)) continue;
    if (stop.stop_requested()) return atl::fail(ErrorCode::kCancelled, "stopped");
    ++done.files;
    done.bytes += node.attributes.size_bytes;
    progress(done);
  }
  return done;
}

Result<Progress> FakeFileLayer::preload(std::string_view path,
                                        std::string_view glob,
                                        std::stop_token stop,
                                        const OnProgress& progress) {
  return walk(fmt::format("preload {} {}", path, glob), stop, progress);
}

Result<Progress> FakeFileLayer::release(std::string_view path,
                                        std::chrono::seconds unused,
                                        const OnProgress& progress) {
  return walk(fmt::format("release {} {}", path, unused.count()), {}, progress);
}

Result<Progress> FakeFileLayer::export_now(std::string_view path,
                                           std::stop_token stop,
                                           const OnProgress& progress) {
  return walk(fmt::format("export {}", path), stop, progress);
}

Result<storage::ImportCounts> FakeFileLayer::import_now(std::string_view path,
                                                        std::stop_token /*stop*/) {
  const auto lock = enter(fmt::format("import {}", path));
  if (!lock) return as_error(lock.error(), "import");
  storage::ImportCounts counts;
  counts.listed = nodes_.size() - 1;
  counts.requests = 1;
  return counts;
}

}  // namespace atl::fs
