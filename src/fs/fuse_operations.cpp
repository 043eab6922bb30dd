// The callbacks, one for each of the kernel's requests. Not answered on purpose, because the kernel then
// does the right thing by itself:
//   getlk, setlk, flock    locks hold within this machine
//   access                 permissions are checked by the kernel (default_permissions)
//   fallocate              EOPNOTSUPP; posix_fallocate(3) writes zeros instead
//   copy_file_range        the kernel copies by reading and writing
//   lseek                  SEEK_DATA and SEEK_HOLE take a file as one piece of data

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fs/fuse_requests.h"

namespace atl::fs {
namespace {

constexpr int kSuccess = 0;
constexpr mode_t kPermissions = 07777;
constexpr uint64_t kFirstEntryOffset = 3;  // behind "." and ".."

tl::unexpected<FsError> no(int error_number) {
  return tl::unexpected<FsError>(FsError{error_number, {}});
}

void on_init(void* userdata, fuse_conn_info* connection) {
  constexpr unsigned kRequest_bytes = 1U << 20;  // the most that the kernel sends
  constexpr unsigned kBackground = 64;           // read-aheads at a time; the kernel's 12 are few
  connection->max_write = connection->max_read = kRequest_bytes;
  connection->max_background = kBackground;
  connection->congestion_threshold = kBackground * 3 / 4;
  const unsigned wanted = FUSE_CAP_SPLICE_WRITE | FUSE_CAP_CACHE_SYMLINKS;
  connection->want |= connection->capable & wanted;
  // The kernel takes set-user-id bits away itself, as it does for others.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_HANDLE_KILLPRIV);
  (void)userdata;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer_entry(request, [&](FuseRequests& requests) -> FsResult<Attributes> {
    auto found = requests.layer.lookup(parent, name);
    if (!found && found.error().error_number == ENOENT) return Attributes{};
    return found;
  });
}

void on_forget(fuse_req_t request, fuse_ino_t inode, uint64_t lookups) {
  requests_of(request).layer.forget(inode, lookups);
  fuse_reply_none(request);
}

void on_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) {
    requests_of(request).layer.forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* /*info*/) {
  answer_attributes(request,
                    [&](FuseRequests& requests) { return requests.layer.attributes(inode); });
}

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

void on_setattr(
    fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int which, fuse_file_info* info) {
  AttributeChanges changes;
  if (info != nullptr) changes.through = info->fh;
  if ((which & FUSE_SET_ATTR_MODE) != 0) changes.permissions = wanted->st_mode & kPermissions;
  if ((which & FUSE_SET_ATTR_UID) != 0) changes.uid = wanted->st_uid;
  if ((which & FUSE_SET_ATTR_GID) != 0) changes.gid = wanted->st_gid;
  if ((which & FUSE_SET_ATTR_SIZE) != 0) {
    changes.size_bytes = static_cast<uint64_t>(wanted->st_size);
  }
  if ((which & FUSE_SET_ATTR_ATIME) != 0) changes.accessed = wanted->st_atim;
  if ((which & FUSE_SET_ATTR_MTIME) != 0) changes.modified = wanted->st_mtim;
  if ((which & FUSE_SET_ATTR_ATIME_NOW) != 0) changes.accessed = now();
  if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0) changes.modified = now();
  answer_attributes(request, [&](FuseRequests& requests) {
    return requests.layer.set_attributes(inode, changes);
  });
}

void on_readlink(fuse_req_t request, fuse_ino_t inode) {
  answer(
      request,
      [&](FuseRequests& requests) { return requests.layer.read_symlink(inode); },
      [&](const std::string& target) { return fuse_reply_readlink(request, target.c_str()); });
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  const fuse_ctx caller = *fuse_req_ctx(request);
  answer_entry(request, [&](FuseRequests& requests) {
    return requests.layer.make_directory(parent, name, mode & kPermissions, caller.uid, caller.gid);
  });
}

// Files only: a bucket has neither pipes nor devices.
void on_mknod(
    fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t /*device*/) {
  const fuse_ctx caller = *fuse_req_ctx(request);
  answer_entry(request, [&](FuseRequests& requests) -> FsResult<Attributes> {
    FileLayer& layer = requests.layer;
    if (!S_ISREG(mode)) return no(EPERM);
    const auto created = ATOLL_TRY(layer.create(
        parent, name, mode & kPermissions, caller.uid, caller.gid, O_CREAT | O_WRONLY));
    const auto flushed = layer.flush(created.opened.handle);
    layer.release_handle(created.opened.handle);
    if (flushed) return created.attributes;
    layer.forget(created.attributes.inode, 1);
    return tl::unexpected(flushed.error());
  });
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  const fuse_ctx caller = *fuse_req_ctx(request);
  answer_entry(request, [&](FuseRequests& requests) {
    return requests.layer.make_symlink(parent, name, target, caller.uid, caller.gid);
  });
}

// An object has one key.
void on_link(fuse_req_t request,
             fuse_ino_t /*inode*/,
             fuse_ino_t /*parent*/,
             const char* /*name*/) {
  fuse_reply_err(request, EPERM);
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer_done(request, [&](FuseRequests& requests) { return requests.layer.unlink(parent, name); });
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer_done(request, [&](FuseRequests& requests) {
    return requests.layer.remove_directory(parent, name);
  });
}

void on_rename(fuse_req_t request,
               fuse_ino_t from,
               const char* name,
               fuse_ino_t to,
               const char* new_name,
               unsigned flags) {
  answer_done(request, [&](FuseRequests& requests) {
    return requests.layer.rename(from, name, to, new_name, flags);
  });
}

void set_opened(const FileLayer::Opened& opened, fuse_file_info* info) {
  info->fh = opened.handle;
  info->keep_cache = opened.keep_cache ? 1 : 0;
  info->direct_io = opened.direct_io ? 1 : 0;
}

void on_create(
    fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  const fuse_ctx caller = *fuse_req_ctx(request);
  const auto create = [&](FuseRequests& requests) {
    return requests.layer.create(
        parent, name, mode & kPermissions, caller.uid, caller.gid, info->flags);
  };
  const auto send = [&](const FileLayer::Created& created) {
    set_opened(created.opened, info);
    const auto entry = entry_of(requests_of(request), created.attributes);
    return fuse_reply_create(request, &entry, info);
  };
  answer(request, create, send, [](FileLayer& layer, const FileLayer::Created& created) {
    layer.release_handle(created.opened.handle);
    layer.forget(created.attributes.inode, 1);
  });
}

void on_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  const auto open = [&](FuseRequests& requests) { return requests.layer.open(inode, info->flags); };
  const auto send = [&](const FileLayer::Opened& opened) {
    set_opened(opened, info);
    // Saves a request for each close of a file that was only read.
    info->noflush = (info->flags & O_ACCMODE) == O_RDONLY ? 1 : 0;
    return fuse_reply_open(request, info);
  };
  answer(request, open, send, [](FileLayer& layer, const FileLayer::Opened& opened) {
    layer.release_handle(opened.handle);
  });
}

int reply_bytes(fuse_req_t request, const FileBytes& bytes) {
  if (bytes.fd < 0) {
    const auto text = bytes.blob.text();
    return fuse_reply_buf(request, text.data(), text.size());
  }
  fuse_bufvec spliced = FUSE_BUFVEC_INIT(bytes.size_bytes);
  spliced.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  spliced.buf[0].fd = bytes.fd;
  spliced.buf[0].pos = static_cast<off_t>(bytes.fd_offset);
  return fuse_reply_data(request, &spliced, static_cast<fuse_buf_copy_flags>(0));
}

void on_read(
    fuse_req_t request, fuse_ino_t /*inode*/, size_t size, off_t offset, fuse_file_info* info) {
  answer(
      request,
      [&](FuseRequests& requests) {
        return requests.layer.read(info->fh, static_cast<uint64_t>(offset), size);
      },
      [&](const FileBytes& bytes) { return reply_bytes(request, bytes); });
}

void on_write(fuse_req_t request,
              fuse_ino_t /*inode*/,
              const char* data,
              size_t size,
              off_t offset,
              fuse_file_info* info) {
  answer(
      request,
      [&](FuseRequests& requests) {
        return requests.layer.write(
            info->fh, static_cast<uint64_t>(offset), std::as_bytes(std::span(data, size)));
      },
      [&](uint64_t written) { return fuse_reply_write(request, written); });
}

void on_flush(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* info) {
  answer_done(request, [&](FuseRequests& requests) { return requests.layer.flush(info->fh); });
}

void on_fsync(fuse_req_t request, fuse_ino_t /*inode*/, int /*data_only*/, fuse_file_info* info) {
  answer_done(request, [&](FuseRequests& requests) { return requests.layer.fsync(info->fh); });
}

void on_fsyncdir(fuse_req_t request,
                 fuse_ino_t /*inode*/,
                 int /*data_only*/,
                 fuse_file_info* /*info*/) {
  answer_done(request, [](FuseRequests& requests) { return requests.layer.sync_directories(); });
}

void on_release(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* info) {
  requests_of(request).layer.release_handle(info->fh);
  fuse_reply_err(request, kSuccess);
}

void on_opendir(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  FuseRequests& requests = requests_of(request);
  info->fh = requests.open_directory(inode);
  if (fuse_reply_open(request, info) == -ENOENT) requests.close_directory(info->fh);
}

// One reply's entries. libfuse leaves an entry out that has no room, and says how much it would take.
class EntryBuffer {
 public:
  EntryBuffer(size_t size_bytes, bool plus) : bytes_(size_bytes), plus_(plus) {}

  bool add(const std::string& name, const fuse_entry_param& entry, uint64_t next) {
    char* const at = bytes_.data() + used_;
    const size_t left = bytes_.size() - used_;
    const auto offset = static_cast<off_t>(next);
    const fuse_req_t unused = nullptr;  // in libfuse's words: "req: request handle", and not read
    const size_t taken =
        plus_ ? fuse_add_direntry_plus(unused, at, left, name.c_str(), &entry, offset)
              : fuse_add_direntry(unused, at, left, name.c_str(), &entry.attr, offset);
    if (taken > left) return false;
    used_ += taken;
    return true;
  }
  // "." or "..", which are not looked up.
  bool add_dots(const char* name, InodeNumber inode, uint64_t next) {
    fuse_entry_param entry{};
    entry.attr.st_ino = inode;
    entry.attr.st_mode = S_IFDIR;
    return add(name, entry, next);
  }
  int send(fuse_req_t request) const { return fuse_reply_buf(request, bytes_.data(), used_); }

 private:
  std::vector<char> bytes_;
  const bool plus_;
  size_t used_ = 0;
};

FsResult<Done> fill(EntryBuffer& buffer,
                    FuseRequests& requests,
                    fuse_ino_t inode,
                    uint64_t handle,
                    uint64_t offset,
                    bool plus) {
  if (offset < 1 && !buffer.add_dots(".", inode, 1)) return Done{};
  // Which one is above the kernel knows better than we.
  if (offset < 2 && !buffer.add_dots("..", kRoot, 2)) return Done{};
  const uint64_t first = offset < kFirstEntryOffset - 1 ? 0 : offset - (kFirstEntryOffset - 1);
  const auto directory = requests.directory(handle);
  if (directory == nullptr) return no(EBADF);
  ATOLL_TRY(directory->read(first, plus, [&](uint64_t position, const NamedAttributes& named) {
    return buffer.add(
        named.name, entry_of(requests, named.attributes), position + kFirstEntryOffset);
  }));
  return Done{};
}

void read_directory(fuse_req_t request,
                    fuse_ino_t inode,
                    size_t size,
                    off_t offset,
                    const fuse_file_info* info,
                    bool plus) {
  EntryBuffer buffer(size, plus);
  // The lookups of a reply that nobody takes stay counted until the unmount: the caller is dying, and
  // its directory is read once more at most.
  answer(
      request,
      [&](FuseRequests& requests) {
        return fill(buffer, requests, inode, info->fh, static_cast<uint64_t>(offset), plus);
      },
      [&](const Done&) { return buffer.send(request); });
}

void on_readdir(
    fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info* info) {
  read_directory(request, inode, size, offset, info, false);
}

void on_readdirplus(
    fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info* info) {
  read_directory(request, inode, size, offset, info, true);
}

void on_releasedir(fuse_req_t request, fuse_ino_t /*inode*/, fuse_file_info* info) {
  requests_of(request).close_directory(info->fh);
  fuse_reply_err(request, kSuccess);
}

void on_statfs(fuse_req_t request, fuse_ino_t /*inode*/) {
  answer(
      request,
      [&](FuseRequests& requests) { return requests.layer.statistics(); },
      [&](const struct statvfs& all) { return fuse_reply_statfs(request, &all); });
}

// Attributes of programs go to the layer. The kernel's own (file capabilities, which it asks for before
// each write, access lists, labels) have no place in a bucket. EOPNOTSUPP says so for good: `ls -l` then asks for the label of
// one file, and not of each.
bool is_users(std::string_view name) { return name.starts_with("user."); }

FsResult<std::string> xattr(FuseRequests& requests, InodeNumber inode, std::string_view name) {
  if (!is_users(name)) return no(EOPNOTSUPP);
  const auto ours = requests.root_xattrs.find(name);
  if (inode == kRoot && ours != requests.root_xattrs.end()) return ours->second;
  return requests.layer.xattr(inode, name);
}

// The value, or its length where the caller has no room and only asks.
int reply_xattr(fuse_req_t request, const std::string& value, size_t room) {
  if (room == 0) return fuse_reply_xattr(request, value.size());
  if (value.size() > room) return fuse_reply_err(request, ERANGE);
  return fuse_reply_buf(request, value.data(), value.size());
}

void on_getxattr(fuse_req_t request, fuse_ino_t inode, const char* name, size_t room) {
  answer(
      request,
      [&](FuseRequests& requests) { return xattr(requests, inode, name); },
      [&](const std::string& value) { return reply_xattr(request, value, room); });
}

void on_listxattr(fuse_req_t request, fuse_ino_t inode, size_t room) {
  const auto joined = [&](FuseRequests& requests) -> FsResult<std::string> {
    std::string all;
    for (const std::string& name : ATOLL_TRY(requests.layer.xattrs(inode))) {
      all.append(name).push_back('\0');
    }
    return all;
  };
  answer(request, joined, [&](const std::string& all) { return reply_xattr(request, all, room); });
}

void on_setxattr(fuse_req_t request,
                 fuse_ino_t inode,
                 const char* name,
                 const char* value,
                 size_t size,
                 int flags) {
  answer_done(request, [&](FuseRequests& requests) -> FsResult<void> {
    if (!is_users(name)) return no(EOPNOTSUPP);
    return requests.layer.set_xattr(inode, name, {value, size}, flags);
  });
}

void on_removexattr(fuse_req_t request, fuse_ino_t inode, const char* name) {
  answer_done(request, [&](FuseRequests& requests) -> FsResult<void> {
    if (!is_users(name)) return no(EOPNOTSUPP);
    return requests.layer.remove_xattr(inode, name);
  });
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops made{};
  made.init = on_init;
  made.lookup = on_lookup;
  made.forget = on_forget;
  made.forget_multi = on_forget_multi;
  made.getattr = on_getattr;
  made.setattr = on_setattr;
  made.readlink = on_readlink;
  made.mknod = on_mknod;
  made.mkdir = on_mkdir;
  made.unlink = on_unlink;
  made.rmdir = on_rmdir;
  made.symlink = on_symlink;
  made.rename = on_rename;
  made.link = on_link;
  made.open = on_open;
  made.read = on_read;
  made.write = on_write;
  made.flush = on_flush;
  made.release = on_release;
  made.fsync = on_fsync;
  made.fsyncdir = on_fsyncdir;
  made.opendir = on_opendir;
  made.readdir = on_readdir;
  made.readdirplus = on_readdirplus;
  made.releasedir = on_releasedir;
  made.statfs = on_statfs;
  made.setxattr = on_setxattr;
  made.getxattr = on_getxattr;
  made.listxattr = on_listxattr;
  made.removexattr = on_removexattr;
  made.create = on_create;
  return made;
}

}  // namespace

const fuse_lowlevel_ops& fuse_operations() {
  static const fuse_lowlevel_ops operations = make_operations();
  return operations;
}

}  // namespace atl::fs
