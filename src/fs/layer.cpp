// The layer's start and end, and what it does with names and attributes.
#include "fs/layer.h"

#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "storage/local_store.h"

namespace atl::fs {
namespace {

// DIR and DIR/files, for nobody else to see.
Result<void> make_private_directories(const std::string& directory) {
  ATOLL_TRY(storage::make_directories(directory));
  constexpr mode_t kOwnerOnly = 0700;
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) return fail_errno("looking at " + directory, errno);
  if (status.st_uid != ::geteuid()) {
    return fail(ErrorCode::kPermission,
                directory + ": it belongs to another user",
                "choose a directory of your own");
  }
  if (::chmod(directory.c_str(), kOwnerOnly) != 0)
    return fail_errno("protecting " + directory, errno);
  const std::string files = directory + "/files";
  if (::mkdir(files.c_str(), kOwnerOnly) != 0 && errno != EEXIST) {
    return fail_errno("making " + files, errno);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<FileLayer>> FileLayer::open(std::shared_ptr<storage::Remote> remote,
                                                   std::shared_ptr<storage::Namespace> names,
                                                   std::shared_ptr<storage::BlockCache> cache,
                                                   FileLayerOptions options) {
  ATOLL_TRY(make_private_directories(options.directory));
  auto claim = ATOLL_TRY(storage::claim_directory(options.directory, ::flock));
  if (!claim.note.empty() && options.log) options.log(claim.note);
  auto shared = std::make_shared<Content::Shared>();
  shared->memory = std::make_shared<BlockMemory>(remote, cache, options.max_read_ahead_bytes);
  shared->files =
      std::make_shared<const LocalFiles>(options.directory + "/files", options.disk_fault);
  shared->remote = std::move(remote);
  shared->cache = std::move(cache);
  auto layer = std::make_unique<Layer>(std::move(options), std::move(claim.guard));
  auto started = layer->start(std::move(shared), std::move(names));
  if (!started) {
    auto error = to_error(started.error(), "opening the file layer");
    if (started.error().error_number == EINVAL) error.code = ErrorCode::kInvalidInput;
    return tl::unexpected(std::move(error));
  }
  return layer;
}

Layer::Layer(FileLayerOptions options, std::shared_ptr<const void> claim)
    : options_(std::move(options)), claim_(std::move(claim)) {}

FsResult<void> Layer::start(std::shared_ptr<const Content::Shared> shared,
                            std::shared_ptr<storage::Namespace> names) {
  tree_ = ATOLL_TRY(Tree::open(std::move(shared), std::move(names), options_));
  changes_ = std::make_unique<Changes>(*tree_);
  exporter_ = std::make_unique<Exporter>(*tree_, *changes_);
  tree_->listen({[this](const std::vector<InodeNumber>& dirty) { exporter_->note_dirty(dirty); },
                 [this] { exporter_->note_removals(); },
                 [this](InodeNumber inode) { return exporter_->was_tried(inode); },
                 [this](const Change& change) { tell(change); }});
  tree_->names().set_policy(options_.imports);
  tree_->names().on_change([this](std::string_view key) { hear(key); });
  exporter_->start();
  siblings_ = std::make_unique<SiblingReads>(*tree_);
  threads_.emplace_back([this] { tell_changes(); });
  threads_.emplace_back([this] { import_by_interval(); });
  threads_.emplace_back([this] { save_by_interval(); });
  return {};
}

Layer::~Layer() {
  if (tree_) tree_->names().on_change(nullptr);
  {
    const std::scoped_lock locks(stop_mutex_, changes_mutex_);
    stop_.request_stop();
  }
  stopping_.notify_all();
  changes_came_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  siblings_.reset();
  // Handles that nobody closed: what they wrote is in the journal, too.
  std::vector<Handle> open;
  for (const auto& [handle, file] : handles_) open.push_back(handle);
  for (const Handle handle : open) release_handle(handle);
  // It tells the listener, which is us, until its last thread has ended.
  if (exporter_) exporter_->stop();
  if (tree_) (void)write_accesses();
}

FsResult<void> Layer::writable() const {
  if (options_.read_only) return fail_fs(EROFS);
  return {};
}

FsResult<Attributes> Layer::lookup(InodeNumber parent, std::string_view name) {
  auto lock = tree_->lock();
  const auto directory = ATOLL_TRY(tree_->node(parent));
  const Entry entry = ATOLL_TRY(tree_->child(lock, directory, name));
  const auto node = ATOLL_TRY(tree_->adopt(directory, entry));
  ++node->lookups;
  return tree_->attributes_of(*node, entry.row);
}

void Layer::forget(InodeNumber inode, uint64_t lookups) {
  const auto lock = tree_->lock();
  const auto node = tree_->nodes().find(inode);
  if (!node) return;
  node->lookups -= std::min(lookups, node->lookups);
  tree_->nodes().drop_if_unused(node);
}

FsResult<Attributes> Layer::attributes(InodeNumber inode) {
  auto lock = tree_->lock();
  const auto node = ATOLL_TRY(tree_->node(inode));
  const Entry entry = ATOLL_TRY(tree_->entry(lock, node));
  return tree_->attributes_of(*node, entry.row);
}

FsResult<Attributes> Layer::set_attributes(InodeNumber inode, const AttributeChanges& changes) {
  ATOLL_TRY(writable());
  NodePin pin;
  {
    const auto lock = tree_->lock();
    pin = NodePin(tree_->nodes(), ATOLL_TRY(tree_->node(inode)));
  }
  const NodePtr node = pin.node();
  std::shared_ptr<Content> through;
  if (changes.through) through = content_of(*changes.through);
  FsResult<void> done;
  if (changes.size_bytes) done = set_size(node, *changes.size_bytes, through);
  auto lock = tree_->lock();
  const bool others =
      changes.permissions || changes.uid || changes.gid || changes.accessed || changes.modified;
  if (done && others) done = changes_->set_attributes(lock, node, changes);
  FsResult<Attributes> result;
  if (done) {
    const auto entry = tree_->entry(lock, node);
    if (entry) {
      result = tree_->attributes_of(*node, entry->row);
    } else {
      result = tl::unexpected(entry.error());
    }
  } else {
    result = tl::unexpected(done.error());
  }
  pin.release();
  return result;
}

FsResult<void> Layer::list(InodeNumber inode,
                           std::string_view after,
                           bool count_lookups,
                           const std::function<bool(const NamedAttributes&)>& visit) {
  NodePtr directory;
  {
    auto lock = tree_->lock();
    directory = ATOLL_TRY(tree_->node(inode));
    const Entry entry = ATOLL_TRY(tree_->entry(lock, directory));
    if (entry.row.kind != Kind::kDirectory) return fail_fs(ENOTDIR);
  }
  std::string from(after);
  for (;;) {
    const auto entries = ATOLL_TRY(tree_->next_entries(directory, from));
    if (entries.empty()) return {};
    from = entries.back().row.name;
    for (const Entry& entry : entries) {
      NamedAttributes named{entry.row.name, {}};
      {
        const auto lock = tree_->lock();
        if (count_lookups) {
          const auto node = ATOLL_TRY(tree_->adopt(directory, entry));
          ++node->lookups;
          named.attributes = tree_->attributes_of(*node, entry.row);
        } else {
          const InodeNumber number = ATOLL_TRY(tree_->number_of(directory, entry));
          const auto node = tree_->nodes().find(number);
          const Node unknown{.number = number};
          named.attributes = tree_->attributes_of(node ? *node : unknown, entry.row);
        }
      }
      if (!visit(named)) return {};
    }
  }
}

FsResult<Attributes> Layer::make(InodeNumber parent, std::string_view name, Row like) {
  ATOLL_TRY(writable());
  auto lock = tree_->lock();
  const auto directory = ATOLL_TRY(tree_->node(parent));
  const auto node = ATOLL_TRY(changes_->create(lock, directory, name, std::move(like)));
  const auto row = ATOLL_TRY(tree_->journal().row(node->number));
  ++node->lookups;
  return tree_->attributes_of(*node, *row);
}

FsResult<Attributes> Layer::make_directory(
    InodeNumber parent, std::string_view name, uint32_t permissions, uint32_t uid, uint32_t gid) {
  Row row;
  row.kind = Kind::kDirectory;
  row.mode = S_IFDIR | (permissions & 07777);
  row.uid = uid;
  row.gid = gid;
  return make(parent, name, std::move(row));
}

FsResult<Attributes> Layer::make_symlink(InodeNumber parent,
                                         std::string_view name,
                                         std::string_view target,
                                         uint32_t uid,
                                         uint32_t gid) {
  if (target.empty()) return fail_fs(ENOENT);
  Row row;
  row.kind = Kind::kSymlink;
  row.mode = S_IFLNK | 0777;
  row.uid = uid;
  row.gid = gid;
  row.target = target;
  row.size_bytes = target.size();
  return make(parent, name, std::move(row));
}

FsResult<std::string> Layer::read_symlink(InodeNumber inode) {
  std::optional<Base> before;
  for (;;) {
    Row row;
    {
      auto lock = tree_->lock();
      const auto node = ATOLL_TRY(tree_->node(inode));
      row = ATOLL_TRY(tree_->entry(lock, node)).row;
    }
    if (row.kind != Kind::kSymlink) return fail_fs(EINVAL);
    if (!row.target.empty()) return row.target;
    auto target = exporter_->read_target(row);
    // The link is there, its object is not.
    if (!target && target.error().error_number == ENOENT) target.error().error_number = ESTALE;
    // An export of our own may have put it under another key meanwhile.
    if (target || target.error().error_number != ESTALE || row.base == before) return target;
    before = row.base;
  }
}

FsResult<void> Layer::unlink(InodeNumber parent, std::string_view name) {
  ATOLL_TRY(writable());
  auto lock = tree_->lock();
  const auto directory = ATOLL_TRY(tree_->node(parent));
  return changes_->unlink(lock, directory, name);
}

FsResult<void> Layer::remove_directory(InodeNumber parent, std::string_view name) {
  ATOLL_TRY(writable());
  auto lock = tree_->lock();
  const auto directory = ATOLL_TRY(tree_->node(parent));
  return changes_->remove_directory(lock, directory, name);
}

FsResult<void> Layer::rename(InodeNumber from,
                             std::string_view name,
                             InodeNumber to,
                             std::string_view new_name,
                             unsigned flags) {
  ATOLL_TRY(writable());
  auto lock = tree_->lock();
  const auto old_directory = ATOLL_TRY(tree_->node(from));
  const auto new_directory = ATOLL_TRY(tree_->node(to));
  return changes_->rename(lock, old_directory, name, new_directory, new_name, flags);
}

FsResult<std::string> Layer::xattr(InodeNumber inode, std::string_view name) {
  auto lock = tree_->lock();
  const auto node = ATOLL_TRY(tree_->node(inode));
  if (!name.starts_with("user."))
    return fail_fs(ENODATA);  // no HEAD for security.capability and the like
  const auto xattrs = ATOLL_TRY(changes_->xattrs(lock, node));
  const auto found = xattrs.find(std::string(name));
  if (found == xattrs.end()) return fail_fs(ENODATA);
  return found->second;
}

FsResult<std::vector<std::string>> Layer::xattrs(InodeNumber inode) {
  auto lock = tree_->lock();
  const auto node = ATOLL_TRY(tree_->node(inode));
  std::vector<std::string> names;
  for (const auto& [name, value] : ATOLL_TRY(changes_->xattrs(lock, node))) names.push_back(name);
  return names;
}

FsResult<void> Layer::set_xattr(InodeNumber inode,
                                std::string_view name,
                                std::string_view value,
                                int flags) {
  ATOLL_TRY(writable());
  auto lock = tree_->lock();
  const auto node = ATOLL_TRY(tree_->node(inode));
  const std::string bytes(value);
  return changes_->set_xattr(lock, node, name, &bytes, flags);
}

FsResult<void> Layer::remove_xattr(InodeNumber inode, std::string_view name) {
  ATOLL_TRY(writable());
  auto lock = tree_->lock();
  const auto node = ATOLL_TRY(tree_->node(inode));
  return changes_->set_xattr(lock, node, name, nullptr, 0);
}

FsResult<struct statvfs> Layer::statistics() {
  struct statvfs statistics {};
  if (::statvfs(options_.directory.c_str(), &statistics) != 0) {
    const int number = errno;
    return fail_fs(number, fmt::format("{}: {}", options_.directory, std::strerror(number)));
  }
  statistics.f_namemax = 255;
  return statistics;
}

LayerCounts Layer::counts() const {
  LayerCounts counts = exporter_->counts();
  counts.hidden_keys = tree_->names().hidden_keys();
  return counts;
}

}  // namespace atl::fs
