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

// Whether it says that the bytes are not in the bucket any more, where they should be.
bool is_lost(const FsError& error) {
  return error.error_number == ENOENT || error.error_number == ESTALE;
}

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
  const auto file = std::static_pointer_cast<const UniqueFd>(bytes->owner);
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
    if (may_be_undone(job)) return false;
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
          ATOLL_TRY(tree_.save(holder, job.content, true));
          continue;
        }
      }
    }
    const std::lock_guard tried_lock(mutex_);
    job.was_tried = !tried_.insert(job.row.inode).second;
    return true;
  }
}

// Whether an earlier write of the key may still come, over the one that is about to be made.
bool Exporter::may_be_undone(const Job& job) {
  const std::lock_guard lock(mutex_);
  const auto late = late_writes_.find(job.key);
  if (late == late_writes_.end()) return false;
  if (Clock::now() < late->second.until) {
    return late->second.kind != LateWrite::Kind::kCopy || job.sends_content() ||
           late->second.tag != job.tag;
  }
  late_writes_.erase(late);
  return false;
}

// The more there is to be copied, the longer it may take.
void Exporter::note_late_write(const std::string& key,
                               LateWrite::Kind kind,
                               std::string tag,
                               uint64_t size_bytes) {
  constexpr uint64_t kBytesInThatTime = uint64_t{256} << 20;
  const auto now = Clock::now();
  const auto until =
      now + options_.late_write * (1 + static_cast<int64_t>(size_bytes / kBytesInThatTime));
  const std::lock_guard lock(mutex_);
  constexpr size_t kTidyFrom = 4096;
  if (late_writes_.size() >= kTidyFrom) {
    std::erase_if(late_writes_, [&](const auto& write) { return write.second.until <= now; });
  }
  late_writes_[key] = {until, kind, std::move(tag)};
}

// What the process before may have sent.
FsResult<void> Exporter::note_late_writes() {
  for (const Removal& removal : ATOLL_TRY(removals_below(""))) {
    note_late_write(removal.key, LateWrite::Kind::kAny, {}, 0);
  }
  const auto lock = tree_.lock();
  for (const InodeNumber inode : ATOLL_TRY(tree_.journal().dirty_rows())) {
    const auto row = ATOLL_TRY(tree_.journal().row(inode));
    note_late_write(key_of(row->kind, ATOLL_TRY(tree_.path_of(*row))),
                    LateWrite::Kind::kAny,
                    {},
                    row->base.size_bytes);
  }
  return {};
}

// Whatever still takes its bytes from the object that is to be replaced gets an object of its own, or its
// bytes, where it waits for us itself (two files that changed places).
FsResult<void> Exporter::free_key(const Job& job, std::vector<InodeNumber>& above) {
  std::vector<InodeNumber> based;
  std::vector<std::shared_ptr<Content>> orphans;
  {
    const auto lock = tree_.lock();
    based = ATOLL_TRY(tree_.journal().rows_based_on(job.key));
    orphans = tree_.orphans_based_on(job.key);
  }
  for (const auto& content : orphans) ATOLL_TRY(detach_orphan(content, job.key));
  const size_t depth = above.size();
  above.push_back(job.row.inode);
  for (const InodeNumber inode : based) {
    if (inode == job.row.inode) continue;
    // A chain of renamed files may be as long as it likes, the stack may not.
    constexpr size_t kMostAbove = 64;
    const bool cycle =
        above.size() > kMostAbove || std::find(above.begin(), above.end(), inode) != above.end();
    Outcome outcome = Outcome::kBusy;
    if (!cycle) outcome = ATOLL_TRY(export_row(inode, false, above));
    bool written_to = false;
    {
      const auto lock = tree_.lock();
      const auto still = ATOLL_TRY(tree_.journal().rows_based_on(job.key));
      if (std::find(still.begin(), still.end(), inode) == still.end()) continue;
      const auto node = tree_.nodes().find(inode);
      written_to = node && node->writers > 0;
    }
    // Another thread is at it; our turn comes later.
    if (outcome == Outcome::kBusy && !cycle && !written_to) return fail_fs(EAGAIN);
    ATOLL_TRY(detach(inode, job.key));
  }
  above.resize(depth);
  return {};
}

FsResult<std::string> Exporter::read_target(Row row) {
  for (;;) {
    auto target = tree_.read_target(row);
    if (target || !is_lost(target.error())) return target;
    if (was_tried(row.inode)) ATOLL_TRY(follow_own_write(nullptr, row.inode));
    const auto lock = tree_.lock();
    auto now = ATOLL_TRY(tree_.journal().row(row.inode));
    if (!now || now->kind != Kind::kSymlink || now->base == row.base) return target;
    if (!now->target.empty()) return std::move(now->target);
    row = std::move(*now);
  }
}

FsResult<void> Exporter::fetch_all(const std::shared_ptr<Content>& content,
                                   std::optional<InodeNumber> inode) {
  auto fetched = content->fetch_all(stop_.get_token());
  if (fetched || !is_lost(fetched.error())) return fetched;
  if (!ATOLL_TRY(follow_own_write(content, inode))) return fetched;
  return content->fetch_all(stop_.get_token());
}

FsResult<void> Exporter::detach_orphan(const std::shared_ptr<Content>& content,
                                       const std::string& key) {
  {
    const auto lock = tree_.lock();  // so that two do not each give it a file
    if (!content->file()) content->set_file(ATOLL_TRY(tree_.files().create_nameless()));
  }
  const auto fetched = fetch_all(content, std::nullopt);
  if (fetched) {
    content->clear_base(key, false);
    return {};
  }
  if (!is_lost(fetched.error())) return fetched;
  // Who reads from it is told so; nobody needs to wait for that.
  const auto lock = tree_.lock();
  tree_.forget_orphan(content);
  return {};
}

// Extended attributes that the row still takes from the object `key` are noted in the journal.
FsResult<void> Exporter::keep_xattrs(InodeNumber inode, const std::string& key) {
  if (key.empty()) return {};
  const auto row = [&]() -> FsResult<std::optional<Row>> {
    auto found = ATOLL_TRY(tree_.journal().row(inode));
    if (found && (found->base.key != key || found->xattrs_here)) found.reset();
    return found;
  };
  {
    const auto lock = tree_.lock();
    if (!ATOLL_TRY(row())) return {};
  }
  const auto object = tree_.names().stat(key);
  if (!object && object.error().code != ErrorCode::kNotFound) {
    return tl::unexpected(to_fs_error(object.error()));
  }
  if (!object) return {};
  const auto lock = tree_.lock();
  auto now = ATOLL_TRY(row());
  if (!now) return {};
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  for (const auto& [name, value] : read_xattrs(object->metadata)) {
    ATOLL_TRY(tree_.journal().set_xattr(inode, name, value));
  }
  now->xattrs_here = true;
  ATOLL_TRY(tree_.journal().update(*now));
  return edit.commit();
}

// Of a file whose node stays.
FsResult<void> Exporter::detach_content(const NodePtr& node,
                                        const std::shared_ptr<Content>& content,
                                        const std::string& key) {
  ATOLL_TRY(changes_.make_writable(node, content));
  const auto fetched = fetch_all(content, node->number);
  const bool lost = !fetched && is_lost(fetched.error());
  if (!fetched && !lost) return fetched;
  {
    const auto lock = tree_.lock();
    // Who still has an older version open is told that it is gone, and gets no zeros.
    if (tree_.content_in_use(node->number) != content) return Tree::replaced(*node);
    if (lost) {
      log(
          fmt::format("{}: bytes of it were still in the object {}, which is gone or another one "
                      "by now; zeros stand for them",
                      node->name,
                      key));
    }
    // An export that has ended meanwhile has given it a base of its own. One that was cleared before is noted again: that
    // may have failed then.
    if (!content->clear_base(key, lost) && !content->state().base.key.empty()) return {};
  }
  return tree_.save(node, content, true);
}

// Fetches what the row still takes from the object `key`, so that it needs that no more.
FsResult<void> Exporter::detach(InodeNumber inode, const std::string& key) {
  ATOLL_TRY(keep_xattrs(inode, key));
  auto lock = tree_.lock();
  auto row = ATOLL_TRY(tree_.journal().row(inode));
  if (!row || row->base.key != key) return {};
  const auto parent = ATOLL_TRY(tree_.node_of_row(row->parent));
  const auto node = ATOLL_TRY(tree_.adopt(parent, Entry{*row, true}));
  const NodePin pin(tree_.nodes(), node);
  FsResult<void> result;
  if (row->kind == Kind::kFile) {
    const auto content = ATOLL_TRY(tree_.content(node, *row));
    node->content = content;
    lock.unlock();
    result = detach_content(node, content, key);
    lock.lock();
    // Where the file has given way meanwhile, the caller looks again.
    if (!result && tree_.content_in_use(inode) != content) result = {};
  } else {
    if (row->kind == Kind::kSymlink && row->target.empty()) {
      lock.unlock();
      auto target = read_target(*row);
      lock.lock();
      row = ATOLL_TRY(tree_.journal().row(inode));
      if (row && row->base.key != key) row.reset();
      if (row && !target) result = tl::unexpected(target.error());
      if (row && target) row->target = std::move(*target);
    }
    if (row && result) {
      row->base = {};
      auto edit = ATOLL_TRY(Edit::begin(tree_));
      ATOLL_TRY(edit.mark(*row, false, true));
      ATOLL_TRY(tree_.journal().update(*row));
      result = edit.commit();
    }
  }
  return result;
}

Result<Metadata> Exporter::metadata_of(const Job& job) {
  Metadata metadata;
  if (!job.row.base.key.empty()) {
    auto object = tree_.names().stat(job.row.base.key);
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

Result<ObjectInfo> Exporter::copy(const Job& job) {
  // A copy cannot be made conditional on what it replaces, so that is looked at just before.
  if (job.row.base.key != job.key) {
    const auto there = remote_.stat(job.key);
    if (!there && there.error().code != ErrorCode::kNotFound) return tl::unexpected(there.error());
    if (there ? there->info.etag != job.row.known_etag : !job.row.known_etag.empty()) {
      return fail(ErrorCode::kConflict, job.key + ": the object is another one by now");
    }
  }
  bool sent_again = false;
  auto info = remote_.copy(job.row.base.key, job.key, job.metadata, job.row.base.etag, &sent_again);
  const bool unanswered = !info && !is_refused(info.error());
  if (unanswered || sent_again) {
    note_late_write(job.key, LateWrite::Kind::kCopy, job.tag, job.row.base.size_bytes);
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
      ATOLL_TRY(keep_within_limit());
      return Outcome::kDone;
    }
    const Error& error = info.error();
    if (job.sends_content() && !is_refused(error)) {
      const std::lock_guard lock(mutex_);
      late_uploads_[job.key] = Clock::now() + options_.late_write;
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
  // Not before the journal has it: whoever unlinks the file in between would leave the object where it is.
  if (unchanged) {
    const std::lock_guard tried_lock(mutex_);
    tried_.erase(row->inode);
  }
  if (state) {
    job.content->saved(state->version);
  } else if (job.content) {
    job.content->moved_base(job.row.base, job.key, info.etag, job.row.base.size_bytes);
  }
  if (const auto node = tree_.nodes().find(row->inode); node && !node->kernel_has.empty()) {
    node->kernel_has = info.etag;
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
  uint64_t freed = 0;
  const auto lock = tree_.lock();
  for (const InodeNumber inode : ATOLL_TRY(tree_.journal().kept_rows())) {
    if (freed >= bytes) break;
    freed += ATOLL_TRY(tree_.release_kept(inode));
  }
  return freed;
}

}  // namespace atl::fs
