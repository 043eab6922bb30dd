#include "fs/fake_file_layer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/check.h"

namespace atl::fs {
namespace {

constexpr int64_t kStart_s = 1'700'000'000;

tl::unexpected<FsError> no(int error_number) {
  return tl::unexpected<FsError>(FsError{error_number, {}});
}

bool is_directory(const Attributes& attributes) { return S_ISDIR(attributes.mode); }

}  // namespace

FakeFileLayer::FakeFileLayer() {
  Node& root = nodes_[kRoot];
  root.attributes = {.inode = kRoot, .mode = S_IFDIR | 0755, .links = 2};
  touch(root);
}

void FakeFileLayer::fail(const std::string& call, int error_number) {
  const std::lock_guard lock(mutex_);
  failures_[call] = error_number;
}

void FakeFileLayer::hold(const std::string& call) {
  const std::lock_guard lock(mutex_);
  held_.insert(call);
}

void FakeFileLayer::release(const std::string& call) {
  {
    const std::lock_guard lock(mutex_);
    held_.erase(call);
  }
  changed_.notify_all();
}

void FakeFileLayer::wait_for_held(size_t n) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_ >= n; });
}

std::vector<std::string> FakeFileLayer::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

size_t FakeFileLayer::calls_of(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::ranges::count_if(
      calls_, [&](std::string_view call) { return call.substr(0, call.find(' ')) == name; }));
}

void FakeFileLayer::forget_calls() {
  const std::lock_guard lock(mutex_);
  calls_.clear();
}

uint64_t FakeFileLayer::lookups(InodeNumber inode) const {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(inode);
  return found == nodes_.end() ? 0 : found->second.lookups;
}

void FakeFileLayer::wait_until_forgotten(InodeNumber inode) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return nodes_.at(inode).lookups == 0; });
}

size_t FakeFileLayer::open_handles() const {
  const std::lock_guard lock(mutex_);
  return handles_.size();
}

void FakeFileLayer::splice_reads(bool splice) {
  const std::lock_guard lock(mutex_);
  splice_ = splice;
}

InodeNumber FakeFileLayer::put(std::string_view name, std::string_view content) {
  const std::lock_guard lock(mutex_);
  auto file = child(kRoot, name);
  if (!file) file = add(kRoot, name, S_IFREG | 0644);
  resize(**file, 0);
  resize(**file, content.size());
  const auto written = ::pwrite((*file)->content->get(), content.data(), content.size(), 0);
  ATOLL_CHECK(written == static_cast<ssize_t>(content.size()));
  return (*file)->attributes.inode;
}

void FakeFileLayer::tell(const Change& change) {
  const std::lock_guard lock(told_mutex_);
  if (told_) told_(change);
}

FsResult<std::unique_lock<std::mutex>> FakeFileLayer::enter(std::string call) {
  const std::string name = call.substr(0, call.find(' '));
  std::unique_lock lock(mutex_);
  calls_.push_back(std::move(call));
  if (held_.contains(name)) {
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_.contains(name); });
    --waiting_;
  }
  const auto failure = failures_.find(name);
  if (failure != failures_.end() && failure->second != 0) return no(failure->second);
  return lock;
}

FsResult<FakeFileLayer::Node*> FakeFileLayer::node(InodeNumber inode) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) return no(ESTALE);
  return &found->second;
}

FsResult<FakeFileLayer::Node*> FakeFileLayer::child(InodeNumber parent, std::string_view name) {
  Node* const directory = ATOLL_TRY(node(parent));
  if (!is_directory(directory->attributes)) return no(ENOTDIR);
  const auto found = directory->children.find(name);
  if (found == directory->children.end()) return no(ENOENT);
  return node(found->second);
}

void FakeFileLayer::touch(Node& node) {
  ++clock_ns_;
  node.attributes.modified = node.attributes.changed = {kStart_s, clock_ns_};
}

FsResult<FakeFileLayer::Node*> FakeFileLayer::add(InodeNumber parent,
                                                  std::string_view name,
                                                  uint32_t mode) {
  Node* const directory = ATOLL_TRY(node(parent));
  if (directory->children.contains(name)) return no(EEXIST);
  const InodeNumber inode = next_inode_++;
  directory->children.emplace(name, inode);
  touch(*directory);
  Node& made = nodes_[inode];
  made.attributes = {.inode = inode, .mode = mode, .links = S_ISDIR(mode) ? 2U : 1U};
  if (S_ISREG(mode)) made.content = std::make_shared<UniqueFd>(::memfd_create("fake", MFD_CLOEXEC));
  touch(made);
  return &made;
}

void FakeFileLayer::resize(Node& file, uint64_t size_bytes) {
  ATOLL_CHECK(::ftruncate(file.content->get(), static_cast<off_t>(size_bytes)) == 0);
  file.attributes.size_bytes = size_bytes;
  touch(file);
}

FsResult<Attributes> FakeFileLayer::lookup(InodeNumber parent, std::string_view name) {
  const auto lock = ATOLL_TRY(enter(fmt::format("lookup {} {}", parent, name)));
  Node* const found = ATOLL_TRY(child(parent, name));
  ++found->lookups;
  return found->attributes;
}

void FakeFileLayer::forget(InodeNumber inode, uint64_t lookups) {
  const std::lock_guard lock(mutex_);
  calls_.push_back(fmt::format("forget {} {}", inode, lookups));
  const auto found = nodes_.find(inode);
  ATOLL_CHECK(found != nodes_.end() && found->second.lookups >= lookups) << inode << ' ' << lookups;
  found->second.lookups -= lookups;
  changed_.notify_all();
}

FsResult<Attributes> FakeFileLayer::attributes(InodeNumber inode) {
  const auto lock = ATOLL_TRY(enter(fmt::format("attributes {}", inode)));
  return ATOLL_TRY(node(inode))->attributes;
}

FsResult<Attributes> FakeFileLayer::set_attributes(InodeNumber inode,
                                                   const AttributeChanges& changes) {
  const auto lock = ATOLL_TRY(enter(fmt::format("set_attributes {}", inode)));
  Node* const found = ATOLL_TRY(node(inode));
  Attributes& now = found->attributes;
  if (changes.size_bytes) resize(*found, *changes.size_bytes);
  if (changes.permissions) now.mode = (now.mode & S_IFMT) | *changes.permissions;
  if (changes.uid) now.uid = *changes.uid;
  if (changes.gid) now.gid = *changes.gid;
  if (changes.accessed) now.accessed = *changes.accessed;
  if (changes.modified) now.modified = *changes.modified;
  now.changed = {kStart_s, ++clock_ns_};
  return now;
}

FsResult<void> FakeFileLayer::list(InodeNumber directory,
                                   std::string_view after,
                                   bool count_lookups,
                                   const std::function<bool(const NamedAttributes&)>& visit) {
  const auto lock = ATOLL_TRY(enter(fmt::format("list {} {}", directory, after)));
  Node* const listed = ATOLL_TRY(node(directory));
  for (auto at = listed->children.upper_bound(after); at != listed->children.end(); ++at) {
    Node& entry = nodes_.at(at->second);
    if (count_lookups) ++entry.lookups;
    if (!visit({at->first, entry.attributes})) break;
  }
  return {};
}

void FakeFileLayer::on_change(OnChange changed) {
  const std::lock_guard lock(told_mutex_);
  told_ = std::move(changed);
}

FsResult<FileLayer::Opened> FakeFileLayer::open(InodeNumber inode, int flags) {
  const auto lock = ATOLL_TRY(enter(fmt::format("open {} {:o}", inode, flags)));
  Node* const file = ATOLL_TRY(node(inode));
  if ((flags & O_TRUNC) != 0) resize(*file, 0);
  handles_[next_handle_] = inode;
  const bool keep = std::exchange(file->seen, file->attributes.modified.tv_nsec) ==
                    file->attributes.modified.tv_nsec;
  return Opened{next_handle_++, keep};
}

FsResult<FileLayer::Created> FakeFileLayer::create(InodeNumber parent,
                                                   std::string_view name,
                                                   uint32_t permissions,
                                                   uint32_t uid,
                                                   uint32_t gid,
                                                   int flags) {
  const auto lock = ATOLL_TRY(enter(
      fmt::format("create {} {} {:o} {} {} {:o}", parent, name, permissions, uid, gid, flags)));
  Node* const file = ATOLL_TRY(add(parent, name, S_IFREG | permissions));
  file->attributes.uid = uid;
  file->attributes.gid = gid;
  ++file->lookups;
  handles_[next_handle_] = file->attributes.inode;
  return Created{file->attributes, {.handle = next_handle_++, .keep_cache = true}};
}

FsResult<FileBytes> FakeFileLayer::read(Handle handle, uint64_t offset, uint64_t size_bytes) {
  const auto lock = ATOLL_TRY(enter(fmt::format("read {} {} {}", handle, offset, size_bytes)));
  const Node* const file = ATOLL_TRY(node(handles_.at(handle)));
  const uint64_t end = file->attributes.size_bytes;
  FileBytes result;
  result.size_bytes = std::min(size_bytes, end - std::min(offset, end));
  if (splice_) {
    result.fd = file->content->get();
    result.fd_offset = offset;
    result.owner = file->content;
    return result;
  }
  std::vector<std::byte> bytes(result.size_bytes);
  const auto got =
      ::pread(file->content->get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  ATOLL_CHECK(got == static_cast<ssize_t>(bytes.size()));
  result.blob = storage::Blob(std::move(bytes));
  return result;
}

FsResult<uint64_t> FakeFileLayer::write(Handle handle,
                                        uint64_t offset,
                                        std::span<const std::byte> bytes) {
  const auto lock = ATOLL_TRY(enter(fmt::format("write {} {} {}", handle, offset, bytes.size())));
  Node* const file = ATOLL_TRY(node(handles_.at(handle)));
  const auto written =
      ::pwrite(file->content->get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  ATOLL_CHECK(written == static_cast<ssize_t>(bytes.size()));
  file->attributes.size_bytes = std::max(file->attributes.size_bytes, offset + bytes.size());
  touch(*file);
  return bytes.size();
}

FsResult<void> FakeFileLayer::sync_directories() {
  const auto lock = ATOLL_TRY(enter("fsync of a directory"));
  return {};
}

FsResult<void> FakeFileLayer::fsync(Handle handle) {
  const auto lock = ATOLL_TRY(enter(fmt::format("fsync {}", handle)));
  return {};
}

FsResult<void> FakeFileLayer::flush(Handle handle) {
  const auto lock = ATOLL_TRY(enter(fmt::format("flush {}", handle)));
  return {};
}

void FakeFileLayer::release_handle(Handle handle) {
  const std::lock_guard lock(mutex_);
  calls_.push_back(fmt::format("release_handle {}", handle));
  ATOLL_CHECK(handles_.erase(handle) == 1) << handle;
}

FsResult<Attributes> FakeFileLayer::make_directory(
    InodeNumber parent, std::string_view name, uint32_t permissions, uint32_t uid, uint32_t gid) {
  const auto lock = ATOLL_TRY(
      enter(fmt::format("make_directory {} {} {:o} {} {}", parent, name, permissions, uid, gid)));
  Node* const made = ATOLL_TRY(add(parent, name, S_IFDIR | permissions));
  made->attributes.uid = uid;
  made->attributes.gid = gid;
  ++made->lookups;
  return made->attributes;
}

FsResult<Attributes> FakeFileLayer::make_symlink(InodeNumber parent,
                                                 std::string_view name,
                                                 std::string_view target,
                                                 uint32_t uid,
                                                 uint32_t gid) {
  const auto lock =
      ATOLL_TRY(enter(fmt::format("make_symlink {} {} {} {} {}", parent, name, target, uid, gid)));
  Node* const made = ATOLL_TRY(add(parent, name, S_IFLNK | 0777));
  made->target = target;
  made->attributes.size_bytes = target.size();
  ++made->lookups;
  return made->attributes;
}

FsResult<std::string> FakeFileLayer::read_symlink(InodeNumber inode) {
  const auto lock = ATOLL_TRY(enter(fmt::format("read_symlink {}", inode)));
  return ATOLL_TRY(node(inode))->target;
}

FsResult<void> FakeFileLayer::take_out(InodeNumber parent, std::string_view name, bool directory) {
  Node* const found = ATOLL_TRY(child(parent, name));
  if (is_directory(found->attributes) != directory) return no(directory ? ENOTDIR : EISDIR);
  if (!found->children.empty()) return no(ENOTEMPTY);
  --found->attributes.links;
  Node& from = nodes_.at(parent);
  from.children.erase(from.children.find(name));
  touch(from);
  return {};
}

FsResult<void> FakeFileLayer::unlink(InodeNumber parent, std::string_view name) {
  const auto lock = ATOLL_TRY(enter(fmt::format("unlink {} {}", parent, name)));
  return take_out(parent, name, false);
}

FsResult<void> FakeFileLayer::remove_directory(InodeNumber parent, std::string_view name) {
  const auto lock = ATOLL_TRY(enter(fmt::format("remove_directory {} {}", parent, name)));
  return take_out(parent, name, true);
}

FsResult<void> FakeFileLayer::rename(InodeNumber from,
                                     std::string_view name,
                                     InodeNumber to,
                                     std::string_view new_name,
                                     unsigned flags) {
  const auto lock =
      ATOLL_TRY(enter(fmt::format("rename {} {} {} {} {}", from, name, to, new_name, flags)));
  const InodeNumber moved = ATOLL_TRY(child(from, name))->attributes.inode;
  Node* const target = ATOLL_TRY(node(to));
  const auto there = target->children.find(new_name);
  if ((flags & RENAME_EXCHANGE) != 0) {
    if (there == target->children.end()) return no(ENOENT);
    std::swap(nodes_.at(from).children.find(name)->second, there->second);
    return {};
  }
  if (there != target->children.end()) {
    if ((flags & RENAME_NOREPLACE) != 0) return no(EEXIST);
    ATOLL_TRY(take_out(to, new_name, is_directory(nodes_.at(there->second).attributes)));
  }
  Node& source = nodes_.at(from);
  source.children.erase(source.children.find(name));
  target->children.emplace(new_name, moved);
  touch(source);
  touch(*target);
  return {};
}

}  // namespace atl::fs
