// Random operations on the layer and on a plain map side by side, some through files that stay open, while the bucket's
// answers fail, exports go on beside and the process dies now and then. At no point may a byte differ, and at the end the
// bucket holds the same tree.
//
// The operations of a run are a function of its seed; what the exporter gets done meanwhile is not.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/fs.h>

#include <array>
#include <condition_variable>
#include <future>
#include <optional>

#include "base/keyed_random.h"
#include "fs/layer_fixture.h"

namespace atl::fs {
namespace {

struct Item {
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  // Or a link's target. Who has the file open has it, too.
  std::shared_ptr<std::string> content = std::make_shared<std::string>();
  bool is_directory() const { return S_ISDIR(mode); }
  bool is_file() const { return S_ISREG(mode); }
};

// What POSIX says the operations do.
class Model {
 public:
  std::map<std::string, Item> items;

  static std::string parent_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash);
  }
  const Item* find(const std::string& path) const {
    const auto found = items.find(path);
    return found == items.end() ? nullptr : &found->second;
  }
  int check_parent(const std::string& path) const {
    const std::string parent = parent_of(path);
    if (parent.empty()) return 0;
    const int above = check_parent(parent);
    if (above != 0) return above;
    const Item* item = find(parent);
    return item == nullptr ? ENOENT : item->is_directory() ? 0 : ENOTDIR;
  }
  bool has_children(const std::string& path) const {
    const auto next = items.lower_bound(path + "/");
    return next != items.end() && next->first.starts_with(path + "/");
  }
  int remove(const std::string& path, bool directory) {
    if (const int error = check_parent(path)) return error;
    const Item* item = find(path);
    if (item == nullptr) return ENOENT;
    if (directory && !item->is_directory()) return ENOTDIR;
    if (!directory && item->is_directory()) return EISDIR;
    if (directory && has_children(path)) return ENOTEMPTY;
    items.erase(path);
    return 0;
  }
  std::map<std::string, Item> take(const std::string& path) {
    std::map<std::string, Item> taken;
    std::erase_if(items, [&](const auto& item) {
      const auto& [at, what] = item;
      if (at != path && !at.starts_with(path + "/")) return false;
      taken.emplace(at.substr(path.size()), what);
      return true;
    });
    return taken;
  }
  void give(const std::string& path, std::map<std::string, Item> taken) {
    for (auto& [rest, item] : taken) items.emplace(path + rest, std::move(item));
  }
  int rename(const std::string& from, const std::string& to, bool exchange) {
    if (const int error = check_parent(from)) return error;
    if (const int error = check_parent(to)) return error;
    const Item* source = find(from);
    const Item* target = find(to);
    if (source == nullptr) return ENOENT;
    if (from == to) return 0;
    if (target == nullptr && exchange) return ENOENT;
    if (target != nullptr && !exchange && source->is_directory() && !target->is_directory()) {
      return ENOTDIR;
    }
    if (target != nullptr && !exchange && !source->is_directory() && target->is_directory()) {
      return EISDIR;
    }
    if (to.starts_with(from + "/")) return EINVAL;
    if (from.starts_with(to + "/")) return exchange ? EINVAL : ENOTEMPTY;
    if (target != nullptr && !exchange && target->is_directory() && has_children(to)) {
      return ENOTEMPTY;
    }
    auto moved = take(from);
    if (exchange) give(from, take(to));
    items.erase(to);
    give(to, std::move(moved));
    return 0;
  }
  std::map<std::string, std::string> tree() const {
    std::map<std::string, std::string> tree;
    for (const auto& [path, item] : items) {
      tree[path] = fmt::format("{:o} {} {} {}", item.mode, item.uid, item.gid, *item.content);
    }
    return tree;
  }
};

// The first place where they differ; "" where they do not.
std::string difference(const std::map<std::string, std::string>& found,
                       const std::map<std::string, std::string>& expected) {
  const auto shown = [](const std::string& text) {
    constexpr size_t kShown = 60;
    return fmt::format("{} bytes: {}", text.size(), text.substr(0, kShown));
  };
  for (const auto& [path, text] : expected) {
    const auto at = found.find(path);
    if (at == found.end()) return fmt::format("{} is missing", path);
    if (at->second == text) continue;
    const auto where =
        std::mismatch(text.begin(), text.end(), at->second.begin(), at->second.end());
    return fmt::format("{} has {}, not {}; they differ at byte {}",
                       path,
                       shown(at->second),
                       shown(text),
                       where.first - text.begin());
  }
  for (const auto& [path, text] : found) {
    if (!expected.contains(path)) return fmt::format("{} is too much", path);
  }
  return {};
}

class SideBySide {
 public:
  SideBySide(uint64_t seed, ExportPolicy exports)
      : seed_(seed), remote_(std::make_shared<storage::FakeRemote>()), machine_(remote_) {
    for (const char* path : {"a", "b/c", "b/d/a", "c/b/a", "d"}) {
      remote_->put(path, fmt::format("the first content of {}", path));
      for (std::string at = path; !at.empty(); at = Model::parent_of(at)) {
        model_.items.emplace(at, Item{S_IFDIR | 0755, 0, 0});
      }
      model_.items[path] = {
          S_IFREG | 0755, 0, 0, text(fmt::format("the first content of {}", path))};
    }
    machine_.options.exports = exports;
    machine_.options.posix_metadata = PosixMetadata::kAlways;
    remote_->set_fault([this](std::string_view call) { return fault(call); });
    remote_->set_lost_answer([this](std::string_view call) { return lost_answer(call); });
  }

  void go(int operations) {
    machine_.start();
    for (int i = 0; i < operations && !testing::Test::HasFatalFailure(); ++i) step(i);
    failing_ = false;
    end_export();
    close_all();
    if (testing::Test::HasFatalFailure()) return;
    ASSERT_EQ(difference(machine_.tree(), model_.tree()), "") << "seed " << seed_;
    machine_.settle();
    ASSERT_EQ(difference(machine_.tree(), model_.tree()), "") << "seed " << seed_;
    Machine other(remote_);
    other.options.posix_metadata = PosixMetadata::kAlways;
    other.start();
    ASSERT_EQ(difference(other.tree(), model_.tree()), "") << "seed " << seed_;
    for (const std::string& line : machine_.log()) {
      ASSERT_FALSE(line.starts_with("conflict")) << "seed " << seed_ << ' ' << line;
    }
    machine_.stop();
    machine_.start();
    ASSERT_EQ(difference(machine_.tree(), model_.tree()), "") << "seed " << seed_;
  }

 private:
  uint64_t random(int step, uint64_t purpose, uint64_t below) const {
    return hash_key({seed_, static_cast<uint64_t>(step), purpose}) % below;
  }

  std::optional<Error> fault(std::string_view call) {
    std::unique_lock lock(mutex_);
    // A request that was on its way when the process died may have its effect; later ones never come.
    const bool on_its_way = gate_closed_;
    open_.wait(lock, [&] { return !gate_closed_; });
    if (dead_ && !on_its_way) return Error{ErrorCode::kIo, "the process is dead", {}, {}};
    if (!failing_ || call.starts_with("read ")) return std::nullopt;
    if (hash_key({seed_, ++calls_}) % 5 != 0) return std::nullopt;
    return Error{ErrorCode::kIo, fmt::format("{}: 503", call), {}, {}};
  }

  std::optional<Error> lost_answer(std::string_view call) {
    const std::lock_guard lock(mutex_);
    if (!failing_ || hash_key({seed_, ++calls_}) % 5 != 0) return std::nullopt;
    return Error{ErrorCode::kIo, fmt::format("{}: the connection was reset", call), {}, {}};
  }

  static std::shared_ptr<std::string> text(std::string content) {
    return std::make_shared<std::string>(std::move(content));
  }
  static void put(std::string& content, uint64_t offset, const std::string& bytes) {
    if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size());
    content.replace(offset, bytes.size(), bytes);
  }

  struct Open {
    Handle handle = 0;
    std::shared_ptr<std::string> content;
  };
  void close(std::optional<Open>& open) {
    if (open) machine_.close(open->handle);
    open.reset();
  }
  void close_all() {
    for (auto& open : open_files_) close(open);
  }
  void write_to(const Open& open, uint64_t offset, const std::string& bytes) {
    auto rest = std::as_bytes(std::span(bytes));
    for (uint64_t at = offset; !rest.empty();) {
      FsResult<uint64_t> written;
      const int error = patiently(
          [&] { return error_of(written = machine_.layer().write(open.handle, at, rest)); });
      ASSERT_EQ(error, 0) << "seed " << seed_;
      rest = rest.subspan(*written);
      at += *written;
    }
    put(*open.content, offset, bytes);
  }
  void read_from(const Open& open) {
    std::string found;
    for (;;) {
      FsResult<std::string> piece;
      const int error = patiently(
          [&] { return error_of(piece = machine_.read(open.handle, found.size(), 10'000)); });
      ASSERT_EQ(error, 0) << "seed " << seed_;
      if (piece->empty()) break;
      found += *piece;
    }
    ASSERT_EQ(difference({{"it", found}}, {{"it", *open.content}}), "") << "seed " << seed_;
  }

  // An export that insists, beside what comes next.
  void begin_export(const std::string& path) {
    end_export();
    exporting_ = std::async(std::launch::async, [this, path] {
      (void)machine_.layer().export_now(path, stop_export_.get_token(), nullptr);
    });
  }
  void end_export() {
    if (!exporting_.valid()) return;
    stop_export_.request_stop();
    exporting_.get();
    stop_export_ = {};
  }

  // No export ends while the state is copied. The cache may be lost with it.
  void crash(bool with_cache) {
    // What has not been closed may be lost.
    for (const auto& open : open_files_) {
      if (!open) continue;
      ASSERT_EQ(error_of(machine_.layer().flush(open->handle)), 0) << "seed " << seed_;
    }
    {
      const std::lock_guard lock(mutex_);
      gate_closed_ = true;
    }
    machine_.copy_state();
    {
      const std::lock_guard lock(mutex_);
      gate_closed_ = false;
      dead_ = true;
    }
    open_.notify_all();
    end_export();
    close_all();
    machine_.crash_to_copy();
    if (with_cache) std::filesystem::remove_all(machine_.directory() / "cache");
    {
      const std::lock_guard lock(mutex_);
      dead_ = false;
    }
    machine_.start();
  }

  std::string path(int step, uint64_t purpose) const {
    static constexpr const char* kNames[] = {"a", "b", "c", "d"};
    std::string path = kNames[random(step, purpose, 4)];
    for (uint64_t depth = random(step, purpose + 100, 3); depth > 0; --depth) {
      path += fmt::format("/{}", kNames[random(step, purpose + 200 + depth, 4)]);
    }
    return path;
  }

  // What the bucket's failures make of it is tried again, as a user would.
  template <typename Operation>
  int patiently(const Operation& operation) {
    int error = EIO;
    for (int tries = 0; tries < 200 && error == EIO; ++tries) error = operation();
    return error;
  }

  void step(int i) {
    const std::string at = path(i, 1);
    const std::string to = path(i, 2);
    const std::string bytes = fmt::format("step {} {}", i, std::string(random(i, 3, 9000), 'x'));
    const uint64_t offset = random(i, 4, 6000);
    const std::string what = fmt::format("seed {} step {} {} {}", seed_, i, at, to);
    Item* item = nullptr;
    if (const auto found = model_.items.find(at); found != model_.items.end())
      item = &found->second;
    const int above = model_.check_parent(at);
    const bool file = item != nullptr && item->is_file();
    const int not_a_file = above != 0             ? above
                           : item == nullptr      ? ENOENT
                           : item->is_directory() ? EISDIR
                                                  : ELOOP;
    Open* open = nullptr;
    if (auto& some = open_files_[random(i, 9, open_files_.size())]; some) open = &*some;
    switch (random(i, 5, 18)) {
      case 0:
      case 1: {
        const int error = patiently([&] { return machine_.write(at, bytes); });
        if (above != 0 || (item != nullptr && !file)) {
          ASSERT_EQ(error, not_a_file) << what;
          break;
        }
        ASSERT_EQ(error, 0) << what;
        if (item == nullptr) item = &(model_.items[at] = {S_IFREG | 0644, 1, 2});
        *item->content = bytes;
        break;
      }
      case 2:
      case 3: {
        const int error = patiently([&] { return machine_.write_at(at, offset, bytes); });
        ASSERT_EQ(error, file ? 0 : not_a_file) << what;
        if (file) put(*item->content, offset, bytes);
        break;
      }
      case 4: {
        const int error =
            patiently([&] { return machine_.set_attributes(at, {.size_bytes = offset}); });
        const bool link = item != nullptr && S_ISLNK(item->mode);
        ASSERT_EQ(error, file ? 0 : link ? EINVAL : not_a_file) << what;
        if (file) item->content->resize(offset);
        break;
      }
      case 5: {
        const int error = patiently([&] { return machine_.make_directory(at); });
        ASSERT_EQ(error, above != 0 ? above : item != nullptr ? EEXIST : 0) << what;
        if (error == 0) model_.items[at] = {S_IFDIR | 0755, 3, 4};
        break;
      }
      case 6: {
        const int error = patiently([&] { return machine_.remove_directory(at); });
        ASSERT_EQ(error, model_.remove(at, true)) << what;
        break;
      }
      case 7: {
        const int error = patiently([&] { return machine_.unlink(at); });
        ASSERT_EQ(error, model_.remove(at, false)) << what;
        break;
      }
      case 8:
      case 9: {
        const int error = patiently([&] { return machine_.rename(at, to); });
        ASSERT_EQ(error, model_.rename(at, to, false)) << what;
        break;
      }
      case 10: {
        const int error = patiently([&] { return machine_.rename(at, to, RENAME_EXCHANGE); });
        ASSERT_EQ(error, model_.rename(at, to, true)) << what;
        break;
      }
      case 11: {
        const auto permissions = static_cast<uint32_t>(0600 + random(i, 6, 8));
        const int error =
            patiently([&] { return machine_.set_attributes(at, {.permissions = permissions}); });
        const bool link = item != nullptr && S_ISLNK(item->mode);
        ASSERT_EQ(error,
                  above != 0        ? above
                  : item == nullptr ? ENOENT
                  : link            ? ENOTSUP
                                    : 0)
            << what;
        if (error == 0) item->mode = (item->mode & S_IFMT) | permissions;
        break;
      }
      case 12: {
        const int error = patiently([&] { return machine_.make_symlink(at, to); });
        ASSERT_EQ(error, above != 0 ? above : item != nullptr ? EEXIST : 0) << what;
        if (error == 0) model_.items[at] = {S_IFLNK | 0777, 5, 6, text(to)};
        break;
      }
      case 13: {
        FsResult<Handle> handle;
        const int error = patiently([&] {
          handle = machine_.open(at, O_RDWR);
          return error_of(handle);
        });
        ASSERT_EQ(error, file ? 0 : not_a_file) << what;
        if (!file) break;
        auto& some = open_files_[random(i, 9, open_files_.size())];
        close(some);
        some = Open{*handle, item->content};
        break;
      }
      case 14:
      case 15:
        if (open != nullptr) write_to(*open, offset, bytes);
        break;
      case 16:
        if (open != nullptr) read_from(*open);
        if (random(i, 7, 2) == 0) close(open_files_[random(i, 9, open_files_.size())]);
        break;
      default:
        if (random(i, 7, 3) != 0 && random(i, 10, 2) == 0) {
          begin_export(random(i, 11, 2) == 0 ? at : "");
          break;
        }
        if (random(i, 7, 3) == 0) {
          crash(random(i, 8, 2) == 0);
        } else if (random(i, 7, 3) == 1) {
          failing_ = false;
          ASSERT_EQ(difference(machine_.tree(), model_.tree()), "") << what;
          failing_ = true;
        } else {
          end_export();
          failing_ = false;
          machine_.settle();
          failing_ = true;
        }
        break;
    }
  }

  const uint64_t seed_;
  std::mutex mutex_;
  std::condition_variable open_;
  bool gate_closed_ = false;
  bool dead_ = false;
  std::atomic<bool> failing_ = true;
  uint64_t calls_ = 0;
  Model model_;
  std::shared_ptr<storage::FakeRemote> remote_;
  Machine machine_;
  std::array<std::optional<Open>, 3> open_files_;
  std::stop_source stop_export_;
  std::future<void> exporting_;  // before the machine goes
};

class LayerModelTest : public testing::TestWithParam<uint64_t> {};

TEST_P(LayerModelTest, the_layer_does_what_a_plain_map_does) {
  SideBySide(GetParam(), ExportPolicy::kOnDemand).go(250);
}

TEST_P(LayerModelTest, it_does_so_while_all_is_being_exported) {
  SideBySide(GetParam(), ExportPolicy::kOnClose).go(250);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LayerModelTest, testing::Range<uint64_t>(1, 9));

}  // namespace
}  // namespace atl::fs
