// The export of one row: look, send, note.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "fs/export_job.h"
#include "fs/posix_metadata.h"

namespace atl::fs {

using storage::Blob;
using storage::Metadata;
using storage::ObjectInfo;

namespace {

bool is_conflict(const Error& error) {
  return error.code == ErrorCode::kConflict || error.code == ErrorCode::kNotFound;
}

// Whether the bucket has answered that it will not.
bool is_refused(const Error& error) {
  return is_conflict(error) || error.code == ErrorCode::kPermission;
}

Result<Blob> whole(const Content::Shared& shared, FsResult<FileBytes> bytes, uint64_t size) {
  if (!bytes) return tl::unexpected(to_error(bytes.error(), "reading a local content"));
  if (bytes->fd < 0) return bytes->blob;
  // A file that is being exported does not change, so it may be read in place.
  const auto file = std::static_pointer_cast<const OpenLocalFile>(bytes->owner);
  std::vector<std::byte> buffer(std::min(size, bytes->size_bytes));
  const auto got = shared.files->read(file, bytes->fd_offset, buffer);
  if (!got) return tl::unexpected(to_error(got.error(), "reading a local content"));
  std::fill(buffer.begin() + static_cast<std::ptrdiff_t>(*got), buffer.end(), std::byte{0});
  return Blob(std::move(buffer));
}

}  // namespace

// False: nothing to do, or not now (job.row.dirty() tells).
FsResult<bool> Exporter::prepare(Job& job, std::vector<InodeNumber>& above) {
  for (;;) {
    auto lock = tree_.lock();
    auto row = ATOLL_TRY(tree_.journal().row(job.row.inode));
    if (!row || !row->dirty()) {
      job.row.content_dirty = job.row.attributes_dirty = false;
      return false;
    }
    job.row = std::move(*row);
    const auto node = tree_.nodes().find(job.row.inode);
    if (node && node->writers > 0 && !job.insist) return false;
    job.path = ATOLL_TRY(tree_.path_of(job.row));
    job.key = key_of(job.row.kind, job.path);
    const auto based = ATOLL_TRY(tree_.journal().rows_based_on(job.key));
    const bool needed = std::any_of(based.begin(),
                                    based.end(),
                                    [&](InodeNumber inode) { return inode != job.row.inode; }) ||
                        !tree_.orphans_based_on(job.key).empty();
    if (needed) {
      lock.unlock();
      ATOLL_TRY(free_key(job, above));
      continue;
    }
    // Before the lock is let go of: whoever unlinks the file now waits with its removal for this export.
    job.claim = std::make_unique<KeyClaim>(mutex_, busy_keys_, job.key);
    if (!job.claim->held()) return false;
    job.journal = ATOLL_TRY(tree_.journal().name());
    job.tag = write_tag(job.journal, job.key, job.row.inode, job.row.change);
    const auto copy_tag =
        job.sends_content() ? std::nullopt : std::optional<std::string_view>(job.tag);
    if (late_writes_.hold_up_write(job.key, copy_tag)) return false;
    if (job.row.xattrs_here) job.xattrs = ATOLL_TRY(tree_.journal().xattrs(job.row.inode));
    if (job.row.kind == Kind::kFile) {
      const auto holder = node ? node : std::make_shared<Node>();
      if (!node) holder->number = job.row.inode;
      auto content = ATOLL_TRY(tree_.content(holder, job.row));
      if (content != job.content || !job.row.content_dirty) job.guard.reset();
      job.content = std::move(content);
      if (job.row.content_dirty) {
        if (!job.guard) job.guard = job.content->begin_export(job.insist);
        if (!job.guard) return false;
        // What goes out is what the journal and the disk have, or a crash, or the next one who opens it, would take away
        // what the bucket is believed to have.
        if (job.content->unsaved() || job.content->unsynced()) {
          job.claim.reset();
          lock.unlock();
          auto saved = tree_.save(holder, job.content, true);
          // ESTALE: it has gone, or given way, meanwhile.
          if (!saved && saved.error().error_number != ESTALE) return tl::unexpected(saved.error());
          continue;
        }
      }
    }
    const std::lock_guard tried_lock(mutex_);
    job.was_tried = !tried_.insert(job.row.inode).second;
    return true;
  }
}

Result<Metadata> Exporter::metadata_of(const Job& job) {
  Metadata metadata;
  if (!job.row.base.key.empty()) {
    auto object = tree_.view().object(job.row.base.key);
    if (object) {
      metadata = std::move(object->metadata);
    } else if (object.error().code != ErrorCode::kNotFound) {
      return tl::unexpected(std::move(object).error());
    }
  }
  write_posix(job.row, metadata);
  if (job.row.xattrs_here) write_xattrs(job.xattrs, metadata);
  metadata[std::string(kWriteTag)] = job.tag;
  return metadata;
}

Result<ObjectInfo> Exporter::copy(Job& job) {
  // A copy cannot be made conditional on what it replaces, so that is looked at just before.
  if (job.row.base.key != job.key) {
    const auto there = remote_.stat(job.key);
    if (!there && there.error().code != ErrorCode::kNotFound) return tl::unexpected(there.error());
    if (there ? there->info.etag != job.row.known_etag : !job.row.known_etag.empty()) {
      return fail(ErrorCode::kConflict, job.key + ": the object is another one by now");
    }
  }
  auto info =
      remote_.copy(job.row.base.key, job.key, job.metadata, job.row.base.etag, &job.sent_again);
  const bool unanswered = !info && !is_refused(info.error());
  if (unanswered || job.sent_again) {
    late_writes_.note(job.key, LateWrites::Kind::kCopy, job.tag, job.row.base.size_bytes);
  }
  return info;
}

Result<ObjectInfo> Exporter::send(Job& job) {
  job.metadata = ATOLL_TRY(metadata_of(job));
  if (!job.sends_content()) return copy(job);
  storage::UploadOptions options;
  options.metadata = job.metadata;
  options.if_match = job.row.known_etag;
  options.if_absent = job.row.known_etag.empty();
  if (!job.guard) {
    const auto bytes = std::as_bytes(std::span(job.row.target));
    const Blob body(std::vector<std::byte>(bytes.begin(), bytes.end()));
    return remote_.upload(job.key, storage::upload_source(body), options);
  }
  options.stop = job.guard->stop();
  const storage::UploadSource source{
      job.guard->state().size_bytes, [&](uint64_t offset, uint64_t size) -> Result<Blob> {
        if (size == 0) return Blob();
        return whole(tree_.shared(), job.content->read(offset, size, nullptr), size);
      }};
  return remote_.upload(job.key, source, options);
}

FsResult<Exporter::Outcome> Exporter::export_row(InodeNumber inode,
                                                 bool insist,
                                                 std::vector<InodeNumber>& above) {
  constexpr int kMaxTries = 8;  // of conflicts that come one after the other
  for (int tries = 0;; ++tries) {
    Job job;
    job.row.inode = inode;
    job.insist = insist;
    const auto prepared = prepare(job, above);
    if (!prepared && prepared.error().error_number == EAGAIN) return Outcome::kBusy;
    if (!prepared) return tl::unexpected(prepared.error());
    if (!*prepared) {
      return job.row.dirty() ? Outcome::kBusy : Outcome::kDone;
    }
    auto info = send(job);
    if (info) {
      ATOLL_TRY(finish(job, *info));
      if (const auto kept = keep_within_limit(); !kept) {
        log("giving up local contents that the bucket has: " + kept.error().reason);
      }
      return Outcome::kDone;
    }
    const Error& error = info.error();
    if (job.sends_content() && !is_refused(error)) {
      late_writes_.note(job.key, LateWrites::Kind::kUpload);
    }
    // A writer came: the file is exported when it has been closed.
    if (error.code == ErrorCode::kCancelled && job.guard && job.guard->stop().stop_requested()) {
      return Outcome::kBusy;
    }
    if (!is_conflict(error) || tries == kMaxTries) {
      return fail_fs(to_fs_error(error).error_number,
                     fmt::format("{}: {}", job.path, error.to_string()));
    }
    if (!ATOLL_TRY(settle_conflict(job, error))) return Outcome::kDone;
  }
}

FsResult<void> Exporter::finish(Job& job, const ObjectInfo& info) {
  auto lock = tree_.lock();
  {
    const std::lock_guard counts_lock(mutex_);
    ++counts_.exported_files;
    if (job.sends_content()) counts_.exported_bytes += info.size_bytes;
  }
  auto row = ATOLL_TRY(row_still_there(job));
  if (!row) return finish_elsewhere(job, info);
  // Before the row falls, the namespace must know what is there.
  ATOLL_TRY(fs_result(tree_.names().record(info, &job.metadata)));
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  const bool unchanged = row->change == job.row.change;
  row->known_etag = info.etag;
  row->maybe_gone = false;
  std::optional<Content::State> state;
  if (job.guard) {
    state = job.guard->done(job.key, info.etag);
    row->base = state->base;
    row->present = state->present;
  } else if (job.row.base.key.empty() || row->base.key == job.row.base.key) {
    // A copy of a file that has been given its own bytes meanwhile is no base of it.
    row->base.key = job.key;
    row->base.etag = info.etag;
  }
  if (unchanged) row->content_dirty = row->attributes_dirty = false;
  if (!row->has_content && row->kind == Kind::kFile) row->present.clear();
  ATOLL_TRY(tree_.journal().update(*row));
  ATOLL_TRY(tree_.fold(row->inode));
  ATOLL_TRY(edit.commit());
  if (state) {
    job.content->saved(state->version);
  } else if (job.content) {
    job.content->moved_base(job.row.base, job.key, info.etag, job.row.base.size_bytes);
  }
  // Not before the journal has it: whoever unlinks the file in between would leave the object where it is.
  if (unchanged) {
    const std::lock_guard tried_lock(mutex_);
    tried_.erase(row->inode);
  }
  // What the kernel has is what has been exported, or of a version before.
  if (const auto node = tree_.nodes().find(row->inode)) {
    const bool has_it = node->kernel_has == kernels_version(job.row.base);
    node->kernel_has = has_it ? info.etag : std::string();
  }
  if (!unchanged) note_dirty({row->inode});
  return {};
}

// The file has been unlinked or moved while its object was being written at the old place: that object is
// to go again, unless another row is there by now, which then knows it.
FsResult<void> Exporter::finish_elsewhere(const Job& job, const ObjectInfo& info) {
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  auto there = ATOLL_TRY(tree_.row_at(job.path));
  if (there && there->kind != Kind::kGone && key_of(there->kind, job.path) == job.key) {
    there->known_etag = info.etag;
    ATOLL_TRY(tree_.journal().update(*there));
  } else {
    ATOLL_TRY(tree_.journal().add_removal(job.key, info.etag));
    const size_t slash = job.path.rfind('/');
    const std::string directory = slash == std::string::npos ? "" : job.path.substr(0, slash);
    const std::string name = job.path.substr(slash + 1);  // npos + 1 is 0
    const auto parent = ATOLL_TRY(tree_.row_at(directory));
    if (!there && parent && parent->kind == Kind::kDirectory) {
      ATOLL_TRY(edit.hide(parent->inode, name, job.path));
    }
  }
  // The row that went away had no object of its own yet; its base was the one just replaced.
  if (auto row = ATOLL_TRY(tree_.journal().row(job.row.inode))) {
    if (job.guard) {
      const auto state = job.guard->done(job.key, info.etag);
      row->base = state.base;
      row->present = state.present;
      ATOLL_TRY(tree_.journal().update(*row));
      job.content->saved(state.version);
    } else if (job.row.base.key == job.key && row->base == job.row.base) {
      move_base(job, *row, info.etag);
      ATOLL_TRY(tree_.journal().update(*row));
    }
  } else if (job.guard) {
    job.guard->done(job.key, info.etag);
  }
  ATOLL_TRY(edit.commit());
  note_removals();
  return {};
}

FsResult<void> Exporter::keep_within_limit() {
  // Looking at all of them after each export would cost more than it frees.
  {
    const std::lock_guard lock(mutex_);
    constexpr uint64_t kEvery = 16;
    if (counts_.exported_files % kEvery != 0) return {};
  }
  uint64_t kept = 0;
  {
    const auto lock = tree_.lock();
    for (const InodeNumber inode : ATOLL_TRY(tree_.journal().kept_rows())) {
      const auto row = ATOLL_TRY(tree_.journal().row(inode));
      if (row) kept += row->size_bytes;
    }
  }
  if (kept > options_.keep_exported_bytes) {
    ATOLL_TRY(free_kept(kept - options_.keep_exported_bytes));
  }
  return {};
}

FsResult<uint64_t> Exporter::free_kept(uint64_t bytes) {
  const auto lock = tree_.lock();
  uint64_t freed = tree_.has_to_remove() ? ATOLL_TRY(tree_.sync_journal()) : 0;
  for (const InodeNumber inode : ATOLL_TRY(tree_.journal().kept_rows())) {
    if (freed >= bytes) break;
    const auto row = ATOLL_TRY(tree_.journal().row(inode));
    if (!tree_.release_kept(inode)) break;  // what has been given up so far makes room, too
    if (row && tree_.has_to_remove(inode)) freed += row->size_bytes;
  }
  if (tree_.has_to_remove()) ATOLL_TRY(tree_.sync_journal());
  return freed;
}

}  // namespace atl::fs
