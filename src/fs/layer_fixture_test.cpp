#include "fs/layer_fixture.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/unique_fd.h"
#include "storage/cache/block_cache.h"
#include "storage/namespace/namespace.h"

namespace atl::fs {

using std::filesystem::path;

Machine::Machine(std::shared_ptr<storage::FakeRemote> remote, const path& parent)
    : remote_(std::move(remote)) {
  std::string pattern = (parent / "atoll-layer-XXXXXX").string();
  directory_ = ::mkdtemp(pattern.data());
  options.directory = (directory_ / "state").string();
  options.import_interval = std::chrono::seconds(0);
  options.export_workers = 2;
  options.late_write = std::chrono::milliseconds(0);
  options.log = [this](std::string_view line) {
    const std::lock_guard lock(log_mutex_);
    log_.emplace_back(line);
  };
}

Machine::~Machine() {
  stop();
  std::filesystem::remove_all(directory_);
}

Result<void> Machine::try_start() {
  stop();
  storage::NamespaceOptions names_options;
  names_options.directory = (directory_ / "names").string();
  names_options.log = options.log;
  names_options.now = [this] {
    return std::chrono::system_clock::now() + std::chrono::seconds(age_s_.load());
  };
  auto names = ATOLL_TRY(storage::Namespace::open(remote_, names_options));
  storage::BlockCacheOptions cache_options;
  cache_options.directory = (directory_ / "cache").string();
  cache_options.block_bytes = block_bytes;
  cache_options.max_fetch_bytes = 4 * block_bytes;
  cache_options.min_free_bytes = 0;
  auto cache = ATOLL_TRY(storage::BlockCache::open(cache_options));
  layer_ = ATOLL_TRY(FileLayer::open(remote_, std::move(names), std::move(cache), options));
  return {};
}

void Machine::start() {
  const auto started = try_start();
  ASSERT_TRUE(started) << started.error().to_string();
}

namespace {

// Times and sizes of all files below.
std::map<std::string, std::string> fingerprint(const path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    struct stat status {};
    ::stat(entry.path().c_str(), &status);
    files[entry.path().string()] =
        fmt::format("{} {} {}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  }
  return files;
}

}  // namespace

void Machine::copy_state() {
  copy_ = directory_ / "copy";
  // A transaction may have been on its way when everything was told to stop.
  for (;;) {
    std::filesystem::remove_all(copy_);
    const auto before = fingerprint(options.directory);
    // So that what is written during the copy has another time: the kernel's clock for files goes by ticks.
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::error_code error;
    std::filesystem::copy(
        options.directory, copy_, std::filesystem::copy_options::recursive, error);
    if (!error && fingerprint(options.directory) == before) return;
  }
}

void Machine::crash_to_copy() {
  stop();
  std::filesystem::remove_all(options.directory);
  std::filesystem::rename(copy_, options.directory);
}

void Machine::age() { age_s_ += 3600; }

std::vector<std::string> Machine::log() {
  const std::lock_guard lock(log_mutex_);
  return log_;
}

FsResult<Attributes> Machine::look(std::string_view at) {
  Attributes attributes = ATOLL_TRY(layer_->attributes(kRoot));
  while (!at.empty()) {
    const size_t slash = at.find('/');
    attributes = ATOLL_TRY(layer_->lookup(attributes.inode, at.substr(0, slash)));
    at = slash == std::string_view::npos ? std::string_view{} : at.substr(slash + 1);
  }
  return attributes;
}

FsResult<InodeNumber> Machine::parent_of(std::string_view at, std::string& name) {
  const size_t slash = at.rfind('/');
  name = at.substr(slash + 1);  // npos + 1 is 0
  const auto parent = ATOLL_TRY(look(slash == std::string_view::npos ? "" : at.substr(0, slash)));
  // The kernel sees to it before it asks.
  if (!S_ISDIR(parent.mode)) return tl::unexpected(FsError{ENOTDIR, {}});
  return parent.inode;
}

FsResult<Handle> Machine::open(std::string_view at, int flags) {
  if ((flags & O_CREAT) != 0) {
    std::string name;
    const InodeNumber parent = ATOLL_TRY(parent_of(at, name));
    return ATOLL_TRY(layer_->create(parent, name, 0644, 1, 2, flags)).opened.handle;
  }
  const auto attributes = ATOLL_TRY(look(at));
  return ATOLL_TRY(layer_->open(attributes.inode, flags)).handle;
}

void Machine::close(Handle handle) { layer_->release_handle(handle); }

int Machine::write_at(std::string_view at, uint64_t offset, std::string_view bytes, int flags) {
  const auto handle = open(at, flags);
  if (!handle) return handle.error().error_number;
  auto rest = std::as_bytes(std::span(bytes));
  int error = 0;
  while (!rest.empty() && error == 0) {
    const auto written = layer_->write(*handle, offset, rest);
    error = error_of(written);
    if (!written) break;
    offset += *written;
    rest = rest.subspan(*written);
  }
  const auto flushed = layer_->flush(*handle);
  if (error == 0) error = error_of(flushed);
  close(*handle);
  return error;
}

int Machine::write(std::string_view at, std::string_view content) {
  return write_at(at, 0, content, O_WRONLY | O_CREAT | O_TRUNC);
}

FsResult<std::string> Machine::read(Handle handle, uint64_t offset, uint64_t size_bytes) {
  const FileBytes bytes = ATOLL_TRY(layer_->read(handle, offset, size_bytes));
  if (bytes.fd < 0) return std::string(bytes.blob.text());
  std::string text(bytes.size_bytes, '\0');
  const ssize_t got =
      ::pread(bytes.fd, text.data(), text.size(), static_cast<off_t>(bytes.fd_offset));
  EXPECT_GE(got, 0);
  return text;
}

FsResult<std::string> Machine::read(std::string_view at) {
  const Handle handle = ATOLL_TRY(open(at, O_RDONLY));
  std::string text;
  FsResult<std::string> piece;
  constexpr uint64_t kPiece = 10'000;
  do {
    piece = read(handle, text.size(), kPiece);
    if (piece) text += *piece;
  } while (piece && !piece->empty());
  close(handle);
  if (!piece) return piece;
  return text;
}

int Machine::make_directory(std::string_view at, uint32_t permissions) {
  std::string name;
  const auto parent = parent_of(at, name);
  if (!parent) return parent.error().error_number;
  return error_of(layer_->make_directory(*parent, name, permissions, 3, 4));
}

int Machine::make_symlink(std::string_view at, std::string_view target) {
  std::string name;
  const auto parent = parent_of(at, name);
  if (!parent) return parent.error().error_number;
  return error_of(layer_->make_symlink(*parent, name, target, 5, 6));
}

int Machine::unlink(std::string_view at) {
  std::string name;
  const auto parent = parent_of(at, name);
  if (!parent) return parent.error().error_number;
  return error_of(layer_->unlink(*parent, name));
}

int Machine::remove_directory(std::string_view at) {
  std::string name;
  const auto parent = parent_of(at, name);
  if (!parent) return parent.error().error_number;
  return error_of(layer_->remove_directory(*parent, name));
}

int Machine::rename(std::string_view from, std::string_view to, unsigned flags) {
  std::string name;
  std::string new_name;
  const auto parent = parent_of(from, name);
  if (!parent) return parent.error().error_number;
  const auto new_parent = parent_of(to, new_name);
  if (!new_parent) return new_parent.error().error_number;
  return error_of(layer_->rename(*parent, name, *new_parent, new_name, flags));
}

int Machine::set_attributes(std::string_view at, const AttributeChanges& changes) {
  const auto attributes = look(at);
  if (!attributes) return attributes.error().error_number;
  return error_of(layer_->set_attributes(attributes->inode, changes));
}

std::vector<std::string> Machine::list(std::string_view at) {
  std::vector<std::string> names;
  const auto attributes = look(at);
  EXPECT_TRUE(attributes) << at;
  if (!attributes) return names;
  const auto listed = layer_->list(attributes->inode, "", false, [&](const NamedAttributes& entry) {
    names.push_back(entry.name);
    return true;
  });
  EXPECT_TRUE(listed) << listed.error().reason;
  return names;
}

void Machine::walk(const std::string& at,
                   InodeNumber inode,
                   std::map<std::string, std::string>& tree) {
  std::vector<NamedAttributes> entries;
  const auto listed = layer_->list(inode, "", true, [&](const NamedAttributes& entry) {
    entries.push_back(entry);
    return true;
  });
  ASSERT_TRUE(listed) << at << ": " << listed.error().error_number << ' ' << listed.error().reason;
  for (const auto& [name, attributes] : entries) {
    const std::string here = at.empty() ? name : at + "/" + name;
    std::string text = fmt::format("{:o} {} {} ", attributes.mode, attributes.uid, attributes.gid);
    if (S_ISDIR(attributes.mode)) {
      walk(here, attributes.inode, tree);
    } else if (S_ISLNK(attributes.mode)) {
      const auto target = layer_->read_symlink(attributes.inode);
      ASSERT_TRUE(target) << here << target.error().reason;
      text += *target;
    } else {
      const auto content = read(here);
      ASSERT_TRUE(content) << here << ": " << content.error().error_number << ' '
                           << content.error().reason;
      EXPECT_EQ(content->size(), attributes.size_bytes) << here;
      text += *content;
    }
    layer_->forget(attributes.inode, 1);
    tree.emplace(here, std::move(text));
  }
}

ptrdiff_t Machine::local_files() const {
  const std::filesystem::directory_iterator files(options.directory + "/files");
  return std::distance(begin(files), end(files));
}

std::map<std::string, std::string> Machine::tree() {
  std::map<std::string, std::string> tree;
  walk("", kRoot, tree);
  return tree;
}

void Machine::settle() {
  const auto exported = layer_->export_now("", {}, nullptr);
  ASSERT_TRUE(exported) << exported.error().to_string();
  ASSERT_EQ(layer_->counts().waiting_exports, 0U);
}

LayerTest::LayerTest() : remote_(std::make_shared<storage::FakeRemote>()), machine_(remote_) {
  remote_->put("a", "alpha");
  remote_->put("d/b", "beta");
  machine_.options.exports = ExportPolicy::kOnDemand;
}

void LayerTest::start(ConflictPolicy policy) {
  machine_.options.conflicts = policy;
  machine_.start();
  ASSERT_EQ(machine_.read("a"), "alpha");
}

void LayerTest::settle_with_conflicts(uint64_t conflicts) {
  machine_.settle();
  EXPECT_EQ(machine_.layer().counts().conflicts, conflicts);
  const auto lines = machine_.log();
  const bool is_told = std::ranges::any_of(
      lines, [](const std::string& line) { return line.starts_with("conflict: "); });
  EXPECT_TRUE(is_told || conflicts == 0);
}

}  // namespace atl::fs
