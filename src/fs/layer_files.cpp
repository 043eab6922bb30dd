// The layer's open files.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "fs/layer.h"

namespace atl::fs {

struct Layer::OpenFile {
  NodePtr node;
  std::shared_ptr<Content> content;
  bool reads = false;
  bool writes = false;
  bool appends = false;
  std::atomic<bool> begun = false;  // to be read
  std::atomic<bool> made =
      false;  // by this very handle, and its close has not waited for the disk yet
  ReadAhead ahead;
};

FsResult<Handle> Layer::add_handle(const NodePtr& node, const Row& row, int flags) {
  auto file = std::make_shared<OpenFile>();
  file->node = node;
  file->content = ATOLL_TRY(tree_->content(node, row));
  const int access = flags & O_ACCMODE;
  file->reads = access != O_WRONLY;
  file->writes = access != O_RDONLY;
  file->appends = (flags & O_APPEND) != 0;
  node->content = file->content;
  ++node->opens;
  if (file->writes) ++node->writers;
  const std::lock_guard lock(handles_mutex_);
  handles_.emplace(++last_handle_, std::move(file));
  return last_handle_;
}

FsResult<Layer::OpenFilePtr> Layer::open_file(Handle handle) const {
  const std::shared_lock lock(handles_mutex_);
  const auto found = handles_.find(handle);
  if (found == handles_.end()) return fail_fs(EBADF);
  return found->second;
}

std::shared_ptr<Content> Layer::content_of(Handle handle) const {
  const auto file = open_file(handle);
  return file ? (*file)->content : nullptr;
}

FsResult<FileLayer::Opened> Layer::open(InodeNumber inode, int flags) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (writes || (flags & O_TRUNC) != 0) ATOLL_TRY(writable());
  Opened opened;
  NodePtr node;
  {
    auto lock = tree_->lock();
    node = ATOLL_TRY(tree_->node(inode));
    const Entry entry = ATOLL_TRY(tree_->entry(lock, node));
    if (entry.row.kind == Kind::kDirectory) return fail_fs(EISDIR);
    if (entry.row.kind == Kind::kSymlink) return fail_fs(ELOOP);
    part_from_older(*node, entry);
    opened.handle = ATOLL_TRY(add_handle(node, entry.row, flags));
    const std::string version = kernels_version(node->content->state().base);
    opened.direct_io = node->has_older_handles;
    opened.keep_cache = !opened.direct_io && node->kernel_has == version;
    node->kernel_has = opened.direct_io ? std::string() : version;
  }
  if ((flags & O_TRUNC) != 0) {
    const auto cut = set_size(node, 0, nullptr);
    if (!cut) {
      release_handle(opened.handle);
      return tl::unexpected(cut.error());
    }
    opened.keep_cache = false;
  }
  if (!writes) note_access(node);
  return opened;
}

FsResult<FileLayer::Created> Layer::create(InodeNumber parent,
                                           std::string_view name,
                                           uint32_t permissions,
                                           uint32_t uid,
                                           uint32_t gid,
                                           int flags) {
  ATOLL_TRY(writable());
  Row like;
  like.kind = Kind::kFile;
  like.mode = S_IFREG | (permissions & 07777);
  like.uid = uid;
  like.gid = gid;
  for (;;) {
    auto lock = tree_->lock();
    const auto directory = ATOLL_TRY(tree_->node(parent));
    const auto made = changes_->create(lock, directory, name, like);
    if (made) {
      const auto row = ATOLL_TRY(tree_->journal().row((*made)->number));
      Created created;
      created.opened.handle = ATOLL_TRY(add_handle(*made, *row, flags));
      created.opened.keep_cache = true;
      ATOLL_TRY(open_file(created.opened.handle))->made = true;
      ++(*made)->lookups;
      (*made)->kernel_has = kernels_version({});
      created.attributes = tree_->attributes_of(**made, *row);
      return created;
    }
    if (made.error().error_number != EEXIST || (flags & O_EXCL) != 0) {
      return tl::unexpected(made.error());
    }
    lock.unlock();
    Created created;
    auto found = lookup(parent, name);
    if (!found && found.error().error_number == ENOENT) continue;  // gone again
    created.attributes = ATOLL_TRY(std::move(found));
    auto opened = open(created.attributes.inode, flags);
    auto now = opened && (flags & O_TRUNC) != 0 ? attributes(created.attributes.inode)
                                                : FsResult<Attributes>(created.attributes);
    if (!opened || !now) {
      if (opened) release_handle(opened->handle);
      forget(created.attributes.inode, 1);
      return tl::unexpected(opened ? now.error() : opened.error());
    }
    created.opened = *opened;
    created.attributes = *now;
    return created;
  }
}

FsResult<FileBytes> Layer::read(Handle handle, uint64_t offset, uint64_t size_bytes) {
  const auto file = ATOLL_TRY(open_file(handle));
  if (!file->reads) return fail_fs(EBADF);
  if (!file->begun.exchange(true) && !file->content->state().base.key.empty()) {
    siblings_->begun(file->node);
  }
  const auto read = [&] {
    auto bytes = file->content->read(offset, size_bytes, &file->ahead);
    // The object has gone. There is a name for that, and it is not that the file is not there.
    if (!bytes && bytes.error().error_number == ENOENT) bytes.error().error_number = ESTALE;
    return bytes;
  };
  auto bytes = read();
  if (bytes || bytes.error().error_number != ESTALE) return bytes;
  const InodeNumber inode = file->node->number;
  if (exporter_->was_tried(inode)) {
    ATOLL_TRY(exporter_->follow_own_write(file->content, inode));
  }
  // That, or an export that has just ended, may have moved its base.
  for (;;) {
    const Base base = file->content->state().base;
    bytes = read();
    if (bytes || bytes.error().error_number != ESTALE) return bytes;
    if (file->content->state().base != base) continue;
    return tl::unexpected(exporter_->why_lost(base, std::move(bytes).error()));
  }
}

FsResult<uint64_t> Layer::write(Handle handle, uint64_t offset, std::span<const std::byte> bytes) {
  const auto file = ATOLL_TRY(open_file(handle));
  if (!file->writes) return fail_fs(EBADF);
  const std::optional<uint64_t> at = file->appends ? std::nullopt : std::optional<uint64_t>(offset);
  for (bool freed = false;;) {
    FsResult<Range> written = file->content->write(at, bytes, now_ns());
    if (!written && written.error().error_number == EAGAIN) {
      const auto made = changes_->make_writable(file->node, file->content);
      if (made) continue;
      written = tl::unexpected(made.error());
    }
    if (written) return written->end - written->begin;
    // What the bucket has, too, makes room.
    if (!is_full_disk(written.error()) || freed) return tl::unexpected(written.error());
    if (ATOLL_TRY(exporter_->free_kept(std::max<uint64_t>(bytes.size(), uint64_t{64} << 20))) ==
        0) {
      return tl::unexpected(written.error());
    }
    freed = true;
  }
}

FsResult<void> Layer::journal_size(const NodePtr& node, const Content::State& state, bool durable) {
  if (node->unlinked) {
    node->seen.size_bytes = state.size_bytes;
    return {};
  }
  // Otherwise zeros would stand where it was longer, after a power failure.
  auto edit = ATOLL_TRY(Edit::begin(*tree_, durable));
  Row row = ATOLL_TRY(edit.row_of(node));
  row.size_bytes = state.size_bytes;
  row.modified_ns = row.changed_ns = state.modified_ns;
  row.base = state.base;
  row.present = state.present;
  ATOLL_TRY(edit.mark(row, true, false));
  ATOLL_TRY(tree_->journal().update(row));
  return edit.commit();
}

// What comes now gets the bucket's version, as after a closed file's change there. A writer's version stays: what becomes of
// it, its export will see.
void Layer::part_from_older(const Node& node, const Entry& entry) {
  if (entry.in_journal || node.unlinked || node.writers > 0) return;
  tree_->part_from_other_version(node.number, entry.row.base);
}

// `through`: the content of the handle that ftruncate(2) has; null: by the path.
FsResult<void> Layer::set_size(const NodePtr& node,
                               uint64_t size_bytes,
                               const std::shared_ptr<Content>& through) {
  std::shared_ptr<Content> content;
  for (;;) {
    {
      auto lock = tree_->lock();
      const Entry entry = ATOLL_TRY(tree_->entry(lock, node));
      if (entry.row.kind == Kind::kDirectory) return fail_fs(EISDIR);
      if (entry.row.kind != Kind::kFile) return fail_fs(EINVAL);
      part_from_older(*node, entry);
      content = through && node->unlinked ? through : ATOLL_TRY(tree_->content(node, entry.row));
      if (through && content != through) return Tree::replaced(*node);
    }
    auto made = changes_->make_writable(node, content);
    if (!made && made.error().error_number == ESTALE && !through) continue;
    if (!made) return made;
    content->stop_export();
    ATOLL_TRY(content->sync_before(size_bytes));
    {
      const auto lock = tree_->lock();
      if (content->exporting() || !content->writable()) continue;
      if (!node->unlinked && tree_->content_in_use(node->number) != content) continue;
      ATOLL_TRY(
          content->set_size(size_bytes, now_ns(), [&](const Content::State& state, bool cuts) {
            return journal_size(node, state, cuts);
          }));
      if (node->writers > 0 || node->unlinked) return {};
    }
    // No writer's close will wait for the disk.
    ATOLL_TRY(content->sync());
    return sync_directories();
  }
}

bool Layer::is_to_be_saved(const OpenFile& file, Writes whose) {
  const Content& content = *file.content;
  const bool counts = file.writes || (whose == Writes::kAnyones && !content.gave_way());
  return file.made || (counts && content.writable() && (content.unsaved() || content.unsynced()));
}

FsResult<bool> Layer::save(OpenFile& file, Writes whose) {
  if (!is_to_be_saved(file, whose)) return false;
  ATOLL_TRY(tree_->save(file.node, file.content, true));
  file.made = false;
  return true;
}

void Layer::save_open(const std::vector<OpenFilePtr>& files) {
  for (const OpenFilePtr& file : files) {
    // What an export is fetching for it is none of its writes.
    if (!file->writes || !file->content->writable() || !file->content->unsaved()) continue;
    const auto saved = tree_->save(file->node, file->content, false);
    if (!saved && saved.error().error_number != ESTALE) {  // that one is told at its close
      tree_->log("noting what an open file has written: " + saved.error().reason);
    }
  }
}

FsResult<void> Layer::flush(Handle handle) {
  const auto file = ATOLL_TRY(open_file(handle));
  ATOLL_TRY(save(*file, Writes::kItsOwn));
  return {};
}

FsResult<void> Layer::sync_directories() {
  if (options_.read_only) return {};
  const auto lock = tree_->lock();
  ATOLL_TRY(tree_->sync_journal());
  return {};
}

FsResult<void> Layer::fsync(Handle handle) {
  const auto file = ATOLL_TRY(open_file(handle));
  if (options_.read_only) return {};
  // sync(1) opens what it syncs for reading.
  if (!ATOLL_TRY(save(*file, Writes::kAnyones))) ATOLL_TRY(sync_directories());
  if (!options_.fsync_to_bucket) return {};
  {
    const auto lock = tree_->lock();
    if (file->node->unlinked) return {};
  }
  return exporter_->export_file(file->node->number, {});
}

void Layer::release_handle(Handle handle) {
  OpenFilePtr file;
  {
    const std::lock_guard lock(handles_mutex_);
    const auto found = handles_.find(handle);
    if (found == handles_.end()) return;
    file = std::move(found->second);
    handles_.erase(found);
  }
  // close(2) has told of an error; this is for those who never called it.
  if (const auto saved = save(*file, Writes::kItsOwn); !saved) {
    std::string path;
    {
      const auto lock = tree_->lock();
      path = NodeTable::path_of(*file->node);
    }
    tree_->log(fmt::format(
        "{}: what was written last could not be noted: {}", path, saved.error().reason));
  }
  const auto state = file->content->state();
  const auto unread = file->ahead.unread(tree_->shared().memory->block_bytes());
  if (unread.blocks > 0) {
    tree_->shared().memory->abandon(
        {state.base.key, state.base.etag, state.base.size_bytes}, unread.first, unread.blocks);
  }
  const auto lock = tree_->lock();
  const NodePtr node = file->node;
  if (file->writes && --node->writers == 0 && !node->unlinked) {
    const auto row = tree_->journal().row(node->number);
    if (row && *row && (*row)->dirty()) exporter_->note_dirty({node->number});
  }
  --node->opens;
  node->tidy();
  tree_->nodes().drop_if_unused(node);
}

// Once an hour for a file is enough for release().
void Layer::note_access(const NodePtr& node) {
  constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
  std::string path;
  {
    const auto lock = tree_->lock();
    if (node->unlinked) return;
    path = NodeTable::path_of(*node);
  }
  const std::lock_guard lock(accesses_mutex_);
  accesses_[std::move(path)] = now_ns() / kNanosecondsPerSecond;
}

}  // namespace atl::fs
