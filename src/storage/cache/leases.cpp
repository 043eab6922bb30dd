#include "storage/cache/leases.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace atl::storage {
namespace {

constexpr std::string_view kMagic = "ATLLEASE1";
constexpr size_t kMaxTextBytes = 512;
constexpr size_t kMaxHostBytes = 256;
constexpr std::string_view kOwnSuffix = ".lease";
// Files of machines that cannot be asked, by the file system's own times.
constexpr int64_t kLeftoverAge_s = int64_t{24} * 3600;
// Of what was watched and is of no interest any more.
constexpr size_t kMaxSeen = 10'000;

// The next line of `text`, taken off it.
std::optional<std::string_view> take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const auto line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

}  // namespace

// The count has a fixed width, so that a write replaces it in place.
std::string LeaseText::encode() const {
  return fmt::format("{}\n{:020}\n{}\n{}\n", kMagic, beats, holder.text(), host);
}

std::optional<LeaseText> LeaseText::parse(std::string_view text) {
  const auto magic = take_line(text);
  const auto beats = take_line(text);
  const auto holder = take_line(text);
  const auto host = take_line(text);
  if (!host || !text.empty() || *magic != kMagic || beats->size() != 20 ||
      host->size() > kMaxHostBytes) {
    return std::nullopt;
  }
  LeaseText lease;
  for (const char digit : *beats) {
    if (digit < '0' || digit > '9') return std::nullopt;
    lease.beats = lease.beats * 10 + static_cast<uint64_t>(digit - '0');
  }
  const auto identity = ProcessIdentity::parse(*holder);
  if (!identity) return std::nullopt;
  lease.holder = *identity;
  lease.host = *host;
  // One spelling only; also refuses a count that does not fit.
  return lease.encode() == fmt::format("{}\n{}\n{}\n{}\n", kMagic, *beats, *holder, *host)
             ? std::optional(lease)
             : std::nullopt;
}

Leases::Leases(BlockFiles& files, ProcessIdentity self, std::string host, Clock clock)
    : files_(files),
      clock_(std::move(clock)),
      own_name_(files.unique_name() + std::string(kOwnSuffix)) {
  std::replace(host.begin(), host.end(), '\n', ' ');
  own_ = {0, std::move(self), host.substr(0, kMaxHostBytes)};
  beaten_ = clock_();
}

Leases::~Leases() {
  for (const std::string& name : stuck_) remove_own(name);
  if (own_file_) files_.files().remove(files_.temporary(), own_name_);
}

// Made when the first lease is wanted. mutex_ is held.
bool Leases::make_own_file() {
  if (own_file_) return true;
  UniqueFd fd(files_.files().open(files_.temporary(), own_name_, O_RDWR | O_CREAT | O_EXCL));
  if (!fd) return false;
  const std::string text = own_.encode();
  const iovec part{const_cast<char*>(text.data()), text.size()};
  struct stat status {};
  if (files_.files().write(fd.get(), &part, 1, 0) != static_cast<ssize_t>(text.size()) ||
      files_.files().status(fd.get(), &status) != 0) {
    files_.files().remove(files_.temporary(), own_name_);
    return false;
  }
  own_inode_ = status.st_ino;
  own_modified_s_ = status.st_mtim.tv_sec;
  own_file_ = std::move(fd);
  return true;
}

Leases::Taken Leases::take(uint64_t id) {
  const std::string name = block_name(id);
  {
    const std::lock_guard lock(mutex_);
    if (!make_own_file()) return Taken::kNoLeasesHere;
  }
  // Again where another one's lease ended meanwhile; a few times, so that this ends.
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (files_.files().link(files_.temporary(), own_name_, files_.leases(), name) == 0) {
      return count_held();
    }
    if (errno != EEXIST) return Taken::kNoLeasesHere;
    const auto file = read(name);
    if (!file) continue;
    if (is_stuck(name) && file->inode == own_inode_) return count_held();
    if (!has_ended(name, *file) || !bury(name, *file)) return Taken::kHeldByOther;
  }
  return Taken::kHeldByOther;
}

Leases::Taken Leases::count_held() {
  const std::lock_guard lock(mutex_);
  if (held_++ == 0) beaten_ = clock_();
  return Taken::kYes;
}

// One that was to be given back and could not be removed is taken again.
bool Leases::is_stuck(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return stuck_.erase(name) > 0;
}

void Leases::give_back(uint64_t id) {
  const std::string name = block_name(id);
  const bool removed = remove_own(name);
  const std::lock_guard lock(mutex_);
  --held_;
  if (!removed) stuck_.insert(name);
}

// Unless somebody took this process for dead and the lease over. False: it may still be there.
bool Leases::remove_own(const std::string& name) {
  struct stat status {};
  if (files_.files().status_at(files_.leases(), name, &status) != 0) return errno == ENOENT;
  if (status.st_ino != own_inode_) return true;
  return files_.files().remove(files_.leases(), name) == 0 || errno == ENOENT;
}

bool Leases::is_held(uint64_t id) {
  const std::string name = block_name(id);
  const auto file = read(name);
  return file && !has_ended(name, *file);
}

// What is there under this name; nullopt: nothing. What cannot be read counts as a lease without a text.
std::optional<Leases::File> Leases::read(const std::string& name) {
  FileOperations& files = files_.files();
  const UniqueFd fd(files.open(files_.leases(), name, O_RDONLY));
  struct stat status {};
  if (!fd) {
    const bool is_there = errno != ENOENT && files.status_at(files_.leases(), name, &status) == 0;
    return is_there ? std::optional(File{status.st_ino, ""}) : std::nullopt;
  }
  if (files.status(fd.get(), &status) != 0) return File{};
  File file{status.st_ino, ""};
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid()) return file;
  std::array<char, kMaxTextBytes> buffer{};
  const iovec part{buffer.data(), buffer.size()};
  const ssize_t n = files.read(fd.get(), &part, 1, 0);
  if (n > 0) file.text.assign(buffer.data(), static_cast<size_t>(n));
  return file;
}

bool Leases::has_ended(const std::string& name, const File& file) {
  const auto lease = LeaseText::parse(file.text);
  const Alive alive = lease ? is_alive(lease->holder, own_.holder) : Alive::kUnknown;
  if (alive != Alive::kUnknown) return alive == Alive::kNo;
  const std::lock_guard lock(mutex_);
  const auto now = clock_();
  if (seen_.size() > kMaxSeen) {
    std::erase_if(seen_,
                  [&](const auto& seen) { return now - seen.second.since > 2 * kDeadAfter; });
  }
  const auto [at, is_new] = seen_.try_emplace(name, Seen{file, now});
  if (is_new) return false;
  if (at->second.file != file) at->second = {file, now};
  return now - at->second.since >= kDeadAfter;
}

// Removes a dead holder's lease. Of several who try, one moves it away; who by then moves a living one's
// away puts it back.
bool Leases::bury(const std::string& name, const File& dead) {
  FileOperations& files = files_.files();
  std::string grave;
  {
    const std::lock_guard lock(mutex_);
    grave = fmt::format("{}.{}.grave", own_name_, buried_++);
    seen_.erase(name);
  }
  if (files.rename(files_.leases(), name, files_.temporary(), grave) != 0) return errno == ENOENT;
  struct stat status {};
  const bool right =
      files.status_at(files_.temporary(), grave, &status) == 0 && status.st_ino == dead.inode;
  if (!right) files.link(files_.temporary(), grave, files_.leases(), name);
  files.remove(files_.temporary(), grave);
  return right;
}

void Leases::beat() {
  const std::lock_guard lock(mutex_);
  std::erase_if(stuck_, [this](const std::string& name) { return remove_own(name); });
  if (!own_file_ || held_ == 0 || clock_() - beaten_ < kBeat) return;
  beaten_ = clock_();
  ++own_.beats;
  const std::string text = own_.encode();
  const iovec part{const_cast<char*>(text.data()), text.size()};
  // Where it fails, others may take this process for dead; that costs them a fetch.
  static_cast<void>(files_.files().write(own_file_.get(), &part, 1, 0));
}

bool Leases::is_leftover(const std::string& name) {
  const size_t end = name.find('-');
  const auto writer = ProcessIdentity::parse(std::string_view(name).substr(0, end));
  const Alive alive = writer ? is_alive(*writer, own_.holder) : Alive::kUnknown;
  if (alive != Alive::kUnknown) return alive == Alive::kNo;
  struct stat status {};
  return files_.files().status_at(files_.temporary(), name, &status) == 0 &&
         own_modified_s_ - status.st_mtim.tv_sec > kLeftoverAge_s;
}

void Leases::clean() {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(mutex_);
    if (!make_own_file()) return;
  }
  for_each_name(files_.leases(), [&](const std::string& name) { names.push_back(name); });
  for (const std::string& name : names) {
    const auto file = read(name);
    if (file && has_ended(name, *file)) bury(name, *file);
  }
  files_.remove_leftovers([this](const std::string& name) { return is_leftover(name); });
}

}  // namespace atl::storage
