// Before an object is replaced or removed: what still takes its bytes from it gets them.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "fs/export_job.h"
#include "fs/posix_metadata.h"

namespace atl::fs {
namespace {

// Whether it says that the bytes are not in the bucket any more, where they should be.
bool is_lost(const FsError& error) {
  return error.error_number == ENOENT || error.error_number == ESTALE;
}

}  // namespace

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

// What to make of bytes that were to come from there and could not be had (is_lost): whether the bucket has them after all, or
// cannot say.
FsError Exporter::why_lost(const Base& base, FsError lost) {
  if (base.key.empty()) return lost;
  const auto object = look_for(remote_, base.key);
  if (!object && object.error().code != ErrorCode::kNotFound) return to_fs_error(object.error());
  if (object && object->info.etag == base.etag) {
    return {EIO, base.key + ": the bucket has it, and does not give it"};
  }
  return lost;
}

FsResult<std::string> Exporter::read_target(Row row) {
  for (;;) {
    auto target = tree_.read_target(row);
    if (target || !is_lost(target.error())) return target;
    if (was_tried(row.inode)) ATOLL_TRY(follow_own_write(nullptr, row.inode));
    auto lock = tree_.lock();
    auto now = ATOLL_TRY(tree_.journal().row(row.inode));
    lock.unlock();
    if (!now || now->kind != Kind::kSymlink || now->base == row.base) {
      return tl::unexpected(why_lost(row.base, std::move(target).error()));
    }
    if (!now->target.empty()) return std::move(now->target);
    row = std::move(*now);
  }
}

FsResult<void> Exporter::fetch_all(const std::shared_ptr<Content>& content,
                                   std::optional<InodeNumber> inode) {
  const auto fetch = [&]() -> FsResult<void> {
    auto fetched = content->fetch_all(stop_.get_token());
    if (fetched || !is_full_disk(fetched.error())) return fetched;
    // What the bucket has, too, makes room.
    const uint64_t freed = ATOLL_TRY(free_kept(content->size_bytes()));
    return freed == 0 ? fetched : content->fetch_all(stop_.get_token());
  };
  Base base = content->state().base;
  auto fetched = fetch();
  if (fetched || !is_lost(fetched.error())) return fetched;
  if (!inode || was_tried(*inode)) ATOLL_TRY(follow_own_write(content, inode));
  // Moved by that, or by an export that has just ended.
  while (content->state().base != base) {
    base = content->state().base;
    fetched = fetch();
    if (fetched || !is_lost(fetched.error())) return fetched;
  }
  return tl::unexpected(why_lost(base, std::move(fetched).error()));
}

FsResult<void> Exporter::detach_orphan(const std::shared_ptr<Content>& content,
                                       const std::string& key) {
  {
    const auto lock = tree_.lock();  // so that two do not each give it a file
    if (!content->file()) content->set_file(ATOLL_TRY(tree_.files().create_nameless()));
  }
  auto fetched = fetch_all(content, std::nullopt);
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
  const auto object = tree_.view().object(key);
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

// Of a file whose node stays. False: nothing has been written to it here, and the bucket has lost what it was.
FsResult<bool> Exporter::detach_content(const NodePtr& node,
                                        const std::shared_ptr<Content>& content,
                                        const std::string& key,
                                        bool written_here) {
  {
    const auto lock = tree_.lock();
    if (tree_.content_in_use(node->number) != content) return Tree::replaced(*node);
    // Not in the inode's place: the journal does not know of it, and it may come to nothing.
    if (!content->file()) content->set_file(ATOLL_TRY(tree_.files().create_apart()));
  }
  auto fetched = fetch_all(content, node->number);
  const bool lost = !fetched && is_lost(fetched.error());
  if (!fetched && !lost) return tl::unexpected(fetched.error());
  if (lost && !written_here && !content->writable()) return false;
  ATOLL_TRY(changes_.make_writable(node, content));
  // Without a base, whatever is noted of it says that all is here.
  if (content->unsynced()) ATOLL_TRY(content->sync());
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
    if (!content->clear_base(key, lost) && !content->state().base.key.empty()) return true;
  }
  ATOLL_TRY(tree_.save(node, content, true));
  return true;
}

// The row's bytes were to come from an object that is another one by now, or gone.
FsResult<void> Exporter::settle_lost(InodeNumber inode, const std::string& key) {
  Job job;
  {
    const auto lock = tree_.lock();
    auto row = ATOLL_TRY(tree_.journal().row(inode));
    if (!row || row->base.key != key || row->content_dirty) return {};
    job.row = std::move(*row);
    job.path = ATOLL_TRY(tree_.path_of(job.row));
    job.journal = ATOLL_TRY(tree_.journal().name());
  }
  job.key = key_of(job.row.kind, job.path);
  job.was_tried = was_tried(inode);
  ATOLL_TRY(settle_lost_base(job, Error{ErrorCode::kConflict, key + ": another version", {}, {}}));
  return {};
}

// Fetches what the row still takes from the object `key`, so that it needs that no more.
FsResult<void> Exporter::detach(InodeNumber inode, const std::string& key) {
  ATOLL_TRY(keep_xattrs(inode, key));
  auto lock = tree_.lock();
  auto row = ATOLL_TRY(tree_.journal().row(inode));
  if (!row || row->base.key != key) return {};
  const auto parent = ATOLL_TRY(tree_.node_of_row(row->parent));
  const auto node = ATOLL_TRY(tree_.adopt(parent, Entry{*row, true}));
  NodePin pin(tree_.nodes(), node);
  if (row->kind == Kind::kFile) {
    const auto content = ATOLL_TRY(tree_.content(node, *row));
    node->content = content;
    lock.unlock();
    const auto detached = detach_content(node, content, key, row->content_dirty);
    auto settled = detached && !*detached ? settle_lost(inode, key) : FsResult<void>{};
    lock.lock();
    const bool gave_way = tree_.content_in_use(inode) != content;
    // Where the file has given way meanwhile, the caller looks again.
    if (!detached && !gave_way) return tl::unexpected(detached.error());
    return settled;
  }
  if (row->kind == Kind::kSymlink && row->target.empty()) {
    lock.unlock();
    auto target = read_target(*row);
    const bool lost = !target && is_lost(target.error());
    auto settled = lost ? settle_lost(inode, key) : FsResult<void>{};
    lock.lock();
    if (lost) return settled;
    row = ATOLL_TRY(tree_.journal().row(inode));
    if (!row || row->base.key != key) return {};
    if (!target) return tl::unexpected(target.error());
    row->target = std::move(*target);
  }
  row->base = {};
  auto edit = ATOLL_TRY(Edit::begin(tree_));
  ATOLL_TRY(edit.mark(*row, false, true));
  ATOLL_TRY(tree_.journal().update(*row));
  return edit.commit();
}

}  // namespace atl::fs
