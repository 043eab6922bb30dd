// Where the bucket has another version than the one we know: who wins, and what becomes of the other.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fs/export_job.h"
#include "fs/posix_metadata.h"
#include "storage/key.h"

namespace atl::fs {

using storage::RemoteObject;

namespace {

// Whether nothing of it has to come from the bucket.
bool is_all_here(const Row& row) {
  if (row.kind == Kind::kSymlink) return !row.target.empty();
  return row.kind != Kind::kFile || (row.has_content && row.present.covers({0, row.base.limit}));
}

bool is_symlink(const storage::Metadata& metadata) {
  const auto mode = read_posix(metadata).mode;
  return mode && S_ISLNK(*mode);
}

// "a.txt" -> "a.txt.conflict-node1-20261126T170501Z", of at most so many bytes.
std::string conflict_name(std::string name, std::string_view host, int number, size_t most_bytes) {
  const auto now =
      std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  std::string suffix = fmt::format(".conflict-{}-{:%Y%m%dT%H%M%SZ}",
                                   host,
                                   fmt::gmtime(std::chrono::system_clock::to_time_t(now)));
  if (number > 0) suffix += fmt::format("-{}", number);
  size_t keep = std::min(name.size(), most_bytes - std::min(suffix.size(), most_bytes));
  while (keep < name.size() && keep > 0 && (static_cast<unsigned char>(name[keep]) & 0xc0) == 0x80)
    --keep;
  return name.substr(0, keep) + suffix;
}

// What such a name may add to the one that it is made of.
constexpr size_t kConflictSuffixBytes = 120;

}  // namespace

// The row as it is now, where it is at the place where its export began. Otherwise what the bucket has there is no
// business of the row's any more: whoever unlinked or moved it, or a directory above it, has left the order to
// remove it. With the tree's lock.
FsResult<std::optional<Row>> Exporter::row_still_there(const Job& job) {
  auto row = ATOLL_TRY(tree_.journal().row(job.row.inode));
  if (row && ATOLL_TRY(tree_.path_of(*row)) != job.path) row.reset();
  return row;
}

// The same, where it has not been changed since the export began: what was found out in the bucket was held against
// that state, and must not be done to a newer one, which a write may have made that has been closed. With the tree's lock.
FsResult<std::optional<Row>> Exporter::row_as_judged(const Job& job) {
  auto row = ATOLL_TRY(row_still_there(job));
  if (row && (row->change != job.row.change || row->base != job.row.base)) row.reset();
  return row;
}

// A copy of ours has given the object that `row` is based on another ETag; its bytes are the same, and whoever has the
// file open keeps it. With the tree's lock.
void Exporter::move_base(const Job& job, Row& row, const std::string& etag) {
  row.base.etag = etag;
  if (!job.content) return;
  job.content->moved_base(job.row.base, row.base.key, etag, row.base.size_bytes);
}

// The bytes of `row` are those of this version of its base from now on. With the tree's lock.
void Exporter::take_base(const Job& job, Row& row, const RemoteObject& object) {
  const uint64_t size_bytes = row.kind == Kind::kDirectory ? 0 : object.info.size_bytes;
  if (job.was_tried && size_bytes == row.base.size_bytes &&
      is_written_by(object.metadata, job.journal, row.base.key, row.inode)) {
    return move_base(job, row, object.info.etag);
  }
  row.base = {row.base.key, object.info.etag, size_bytes, size_bytes};
  row.size_bytes = size_bytes;
  row.has_content = false;
  row.present.clear();
  row.target.clear();
  // Who has it open keeps what there was; who opens it now must not be given that, nor what the kernel has of it.
  tree_.part(row.inode);
  const auto& on_change = tree_.listener().on_change;
  if (on_change && tree_.nodes().find(row.inode)) on_change({row.inode, row.parent, row.name});
}

void Exporter::tell_conflict(const std::string& line) {
  {
    const std::lock_guard lock(mutex_);
    ++counts_.conflicts;
  }
  log("conflict: " + line);
}

FsResult<bool> Exporter::settle_conflict(Job& job, const Error& error) {
  const auto object = look_for(remote_, job.key);
  // What is to be replaced, and is listed yet and not found any more, is gone as far as it matters.
  const bool is_gone =
      !object && (object.error().code == ErrorCode::kNotFound ||
                  (object.error().code == ErrorCode::kInconsistent && job.row.maybe_gone));
  if (!object && !is_gone) return tl::unexpected(to_fs_error(object.error()));
  if (object) {
    // A write of this very change, whose answer never came.
    const auto tag = object->metadata.find(std::string(kWriteTag));
    if (tag != object->metadata.end() && tag->second == job.tag) {
      ATOLL_TRY(finish(job, object->info));
      return false;
    }
  }
  {
    const auto lock = tree_.lock();
    // The bucket has got nothing of it, unless an earlier one had no answer. Of a file that has moved since, another export
    // may be on its way.
    if (ATOLL_TRY(row_still_there(job)) && !job.was_tried && !job.sent_again) {
      const std::lock_guard tried_lock(mutex_);
      tried_.erase(job.row.inode);
    }
    if (!ATOLL_TRY(row_as_judged(job))) return true;
  }
  if ((object ? object->info.etag : std::string()) == job.row.known_etag) {
    return settle_lost_base(job, error);
  }
  // An earlier change of ours whose answer never came is no conflict: this one replaces it.
  // Nor is a removal of ours that had its effect before it was taken back.
  // Without an answer that is missing it is somebody else's who has brought back an older version, our tag and all.
  const bool ours = object ? (job.was_tried || job.row.maybe_gone) &&
                                 is_written_by(object->metadata, job.journal, job.key)
                           : job.row.maybe_gone;
  if (!ours) {
    tell_conflict(fmt::format("{} was {} in the bucket and changed here: {}",
                              job.path,
                              object ? "changed" : "removed",
                              error.to_string()));
  }
  const bool remote_wins = !ours && options_.conflicts == ConflictPolicy::kRemoteWins;
  const bool is_file = job.row.kind == Kind::kFile;
  const bool own_base = job.row.base.key == job.key;
  // Without the object a change of attributes has nothing to be made on, unless all bytes are here.
  const bool needs_object = !job.sends_content() && own_base && !object && !is_all_here(job.row);
  // Attributes cannot be put on what is of another kind by now.
  const bool other_kind = object && !job.sends_content() && own_base &&
                          is_symlink(object->metadata) != (job.row.kind == Kind::kSymlink);
  if (remote_wins || needs_object || other_kind) {
    ATOLL_TRY(note_in_names(job.key, object ? &*object : nullptr));
    return give_way(job, object ? &*object : nullptr);
  }
  // What would be written over theirs: bytes, a target, or the file that was moved here. A directory's object is none's alone.
  if (!ours && options_.conflicts == ConflictPolicy::kKeepBoth && object &&
      job.row.kind != Kind::kDirectory && (job.sends_content() || !own_base)) {
    ATOLL_TRY(note_in_names(job.key, &*object));
    ATOLL_TRY(move_aside(job));
    return false;
  }
  const auto lock = tree_.lock();
  auto row = ATOLL_TRY(row_as_judged(job));
  if (!row) return true;
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  row->known_etag = object ? object->info.etag : std::string();
  if (!job.sends_content() && own_base) {
    if (object) {
      take_base(job, *row, *object);  // our attributes on the bucket's content
    } else {
      row->content_dirty |= is_file;
      row->base = {};
      row->present.clear();
    }
  }
  ATOLL_TRY(tree_.journal().update(*row));
  ATOLL_TRY(edit.commit());
  if (job.row.has_content && !row->has_content) tree_.remove_later(row->inode);
  return true;
}

FsResult<bool> Exporter::follow_own_write(const std::shared_ptr<Content>& content,
                                          std::optional<InodeNumber> inode) {
  if (content && content->gave_way()) return false;
  Base before;
  if (content) {
    before = content->state().base;
  } else {
    const auto lock = tree_.lock();
    const auto row = ATOLL_TRY(tree_.journal().row(inode.value()));
    if (row) before = row->base;
  }
  if (before.key.empty()) return false;
  const auto object = look_for(remote_, before.key);
  if (!object && object.error().code == ErrorCode::kNotFound) return false;
  if (!object) return tl::unexpected(to_fs_error(object.error()));
  const auto lock = tree_.lock();
  // Another file's bytes go to that key only when all that are based on it have been given their own.
  const auto journal = ATOLL_TRY(tree_.journal().name());
  if (!is_written_by(object->metadata, journal, before.key, inode)) return false;
  const auto& info = object->info;
  // It cannot be so: what is cut off here is journalled before it is exported.
  if (info.size_bytes < before.limit) return false;
  const Base after{before.key, info.etag, info.size_bytes, before.limit};
  const bool moved =
      content == nullptr ||
      content->moved_base(before, after.key, after.etag, after.size_bytes).base != before;
  if (!inode || (content && tree_.content_in_use(*inode) != content)) return moved;
  auto row = ATOLL_TRY(tree_.journal().row(*inode));
  if (row && row->base == before && after != before) {
    auto edit = ATOLL_TRY(Edit::begin(tree_));
    row->base = after;
    ATOLL_TRY(tree_.journal().update(*row));
    ATOLL_TRY(edit.commit());
  }
  return content ? moved : row && row->base != before;
}

// The place is as we know it, but the object that the bytes come from is another one by now, or gone.
FsResult<bool> Exporter::settle_lost_base(Job& job, const Error& error) {
  if (job.row.base.key.empty()) {
    return fail_fs(EIO,
                   fmt::format("{}: the bucket refuses to replace the version {} that it has: {}",
                               job.path,
                               job.row.known_etag,
                               error.to_string()));
  }
  if (job.sends_content()) {
    job.guard.reset();
    if (!job.was_tried || !job.content ||
        !ATOLL_TRY(follow_own_write(job.content, job.row.inode))) {
      ATOLL_TRY(detach(job.row.inode, job.row.base.key));
    }
    return true;
  }
  const auto source = look_for(remote_, job.row.base.key);
  if (!source && source.error().code != ErrorCode::kNotFound) {
    return tl::unexpected(to_fs_error(source.error()));
  }
  {
    // Another export may have given it bytes of its own, to be free to replace the object.
    const auto lock = tree_.lock();
    if (!ATOLL_TRY(row_as_judged(job))) return true;
  }
  if (source && source->info.etag == job.row.base.etag) {
    return fail_fs(EIO, job.row.base.key + ": the bucket has it, and said that it has not");
  }
  // Nor is it one when we have changed it ourselves, before the renaming, and the answer never came.
  const bool ours =
      source && job.was_tried && is_written_by(source->metadata, job.journal, job.row.base.key);
  if (!ours) {
    tell_conflict(fmt::format("{} was renamed here to {} and {} in the bucket",
                              job.row.base.key,
                              job.path,
                              source ? "changed" : "removed"));
  }
  const bool all_here = is_all_here(job.row);
  const bool remote_wins = !ours && options_.conflicts == ConflictPolicy::kRemoteWins;
  const bool is_file = job.row.kind == Kind::kFile;
  const bool other_kind =
      source && is_symlink(source->metadata) != (job.row.kind == Kind::kSymlink);
  if ((is_file && remote_wins) || ((!source || other_kind) && !all_here)) {
    ATOLL_TRY(note_in_names(job.row.base.key, source ? &*source : nullptr));
    return give_way(job, nullptr);
  }
  const auto lock = tree_.lock();
  auto row = ATOLL_TRY(row_as_judged(job));
  if (!row) return true;
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  if (source && !all_here) {
    take_base(job, *row, *source);
    if (ATOLL_TRY(tree_.journal().removal(row->base.key))) {
      ATOLL_TRY(tree_.journal().add_removal(row->base.key, source->info.etag));
    }
  } else {
    row->base = {};
    row->present.clear();
    row->content_dirty |= is_file;
  }
  ATOLL_TRY(tree_.journal().update(*row));
  ATOLL_TRY(edit.commit());
  if (job.row.has_content && !row->has_content) tree_.remove_later(row->inode);
  return true;
}

// What the bucket has at `key`; null: nothing.
FsResult<void> Exporter::note_in_names(const std::string& key, const RemoteObject* object) {
  if (object == nullptr) return fs_result(tree_.names().forget(key));
  return fs_result(tree_.names().record(object->info, &object->metadata));
}

// The local change is dropped. True where it has become another one meanwhile.
FsResult<bool> Exporter::give_way(Job& job, const RemoteObject* object) {
  job.guard.reset();
  auto lock = tree_.lock();
  auto row = ATOLL_TRY(row_as_judged(job));
  if (!row) return true;
  if (row->kind != Kind::kDirectory) {
    if (!row->base.key.empty() && row->base.key != job.key) {
      const bool place_is_free =
          ATOLL_TRY(tree_.journal().removal(row->base.key)).has_value() || object == nullptr;
      if (!place_is_free) {  // something else has come there
        lock.unlock();
        ATOLL_TRY(move_aside(job));
        return false;
      }
      // The renaming is taken back: what the bucket has shows at its old place again.
      auto edit = ATOLL_TRY(Edit::begin(tree_));
      ATOLL_TRY(tree_.journal().erase_removal(row->base.key));
      ATOLL_TRY(tree_.fold_above(row->base.key));
      ATOLL_TRY(edit.commit());
    }
    log(fmt::format("conflict: the local change of {} is dropped", job.path));
    ATOLL_TRY(tree_.drop(*row));
    return false;
  }
  log(fmt::format("conflict: the local change of {} is dropped", job.path));
  // What lies in a directory stays.
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  row->known_etag = object != nullptr ? object->info.etag : std::string();
  row->base = object != nullptr ? Base{job.key, object->info.etag, 0, 0} : Base{};
  row->content_dirty = row->attributes_dirty = row->xattrs_here = false;
  if (object != nullptr) {
    const PosixFacts facts = read_posix(object->metadata);
    row->mode = (row->mode & ~07777U) | (facts.mode.value_or(row->mode) & 07777U);
    row->uid = facts.uid.value_or(row->uid);
    row->gid = facts.gid.value_or(row->gid);
  }
  ATOLL_TRY(tree_.journal().update(*row));
  ATOLL_TRY(tree_.fold(row->inode));
  ATOLL_TRY(edit.commit());
  return false;
}

// The local content gets a name of its own, and the bucket's shows at the old one.
FsResult<void> Exporter::move_aside(Job& job) {
  job.guard.reset();
  if (job.row.base.key == job.key) ATOLL_TRY(detach(job.row.inode, job.key));
  auto lock = tree_.lock();
  auto row = ATOLL_TRY(row_still_there(job));
  if (!row) return {};
  {
    // It leaves nothing behind at the old place: what is there is not ours.
    auto edit = ATOLL_TRY(Edit::begin(tree_));
    row->known_etag.clear();
    ATOLL_TRY(tree_.journal().update(*row));
    ATOLL_TRY(edit.commit());
  }
  const auto parent = ATOLL_TRY(tree_.node_of_row(row->parent));
  const NodePin pin(tree_.nodes(), parent);
  // Where the directory's path leaves a key no room for it, the top has some.
  const size_t directory_bytes = job.path.size() - row->name.size();
  const bool fits = directory_bytes + kConflictSuffixBytes < storage::kMaxKeyBytes;
  const NodePtr to = fits ? parent : tree_.nodes().root();
  const size_t most_bytes = std::min<size_t>(storage::kMaxComponentBytes,
                                             storage::kMaxKeyBytes - (fits ? directory_bytes : 0));
  FsResult<void> renamed;
  for (int number = 0;; ++number) {
    const std::string name = conflict_name(row->name, host_, number, most_bytes);
    renamed = changes_.rename(lock, parent, row->name, to, name, RENAME_NOREPLACE);
    if (!renamed && renamed.error().error_number == EEXIST) continue;
    if (renamed) {
      log(fmt::format("conflict: the local content of {} is {} now",
                      job.path,
                      join(NodeTable::path_of(*to), name)));
    }
    break;
  }
  if (const auto& on_change = tree_.listener().on_change) on_change({0, parent->number, row->name});
  return renamed;
}

}  // namespace atl::fs
