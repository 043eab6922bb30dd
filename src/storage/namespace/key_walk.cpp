#include "storage/namespace/key_walk.h"

#include <algorithm>
#include <utility>

namespace atl::storage {
namespace {

constexpr int kMostRows = 256;

bool before_slash(char c) { return static_cast<unsigned char>(c) < '/'; }

// Whether the directory's keys come before `name`, an object's or a directory's in the same place.
bool comes_before(const std::string& directory, const std::string& name) {
  const size_t both = std::min(directory.size(), name.size());
  const int order = directory.compare(0, both, name, 0, both);
  if (order != 0) return order < 0;
  return name.size() > directory.size() && !before_slash(name[directory.size()]);
}

}  // namespace

KeyWalk::KeyWalk(NamesConnection& connection, std::string first)
    : c_(connection), first_(std::move(first)) {}

Result<void> KeyWalk::enter(int64_t id, std::string path, const std::string& first) {
  Frame frame;
  frame.id = id;
  frame.path = std::move(path);
  const size_t slash = first.find('/');
  const std::string name = first.substr(0, slash);
  // Directories whose names are prefixes of this one, but whose keys lie behind it.
  for (size_t size = 0; size < name.size(); ++size) {
    if (!before_slash(name[size])) continue;
    auto row =
        ATOLL_TRY(find_entry(c_, id, std::string_view(name).substr(0, size), kDirectoryKind));
    if (row) frame.waiting.push_back({std::move(*row), {}});
  }
  if (slash == std::string::npos) {
    frame.rows = ATOLL_TRY(entries_from(c_, id, name, frame.limit));
  } else {
    auto row = ATOLL_TRY(find_entry(c_, id, name, kDirectoryKind));
    if (row) frame.waiting.push_back({std::move(*row), first.substr(slash + 1)});
    // No name has a '/': this passes over "a" and everything between it and "a/".
    frame.rows = ATOLL_TRY(entries_from(c_, id, name + '/', frame.limit));
  }
  frame.ended = frame.rows.size() < static_cast<size_t>(frame.limit);
  frames_.push_back(std::move(frame));
  return {};
}

Result<void> KeyWalk::fetch_more(Frame& frame) {
  const EntryRow last = std::move(frame.rows.back());
  frame.limit = std::min(2 * frame.limit, kMostRows);
  frame.rows = ATOLL_TRY(entries_behind(
      c_, frame.id, last.name, last.is_directory ? kDirectoryKind : kObjectKind, frame.limit));
  frame.at = 0;
  frame.ended = frame.rows.size() < static_cast<size_t>(frame.limit);
  return {};
}

Result<void> KeyWalk::enter_waiting() {
  Frame& frame = frames_.back();
  Waiting waiting = std::move(frame.waiting.back());
  frame.waiting.pop_back();
  std::string path = frame.path + waiting.row.name + '/';
  const int64_t id = waiting.row.id;
  if (waiting.first.empty() && waiting.row.has_object) {
    own_ = WalkedObject{path, std::move(waiting.row)};
  }
  return enter(id, std::move(path), waiting.first);
}

Result<std::optional<WalkedObject>> KeyWalk::next() {
  if (!started_) {
    started_ = true;
    ATOLL_TRY(enter(kRootDirectory, {}, first_));
  }
  while (!frames_.empty()) {
    if (own_) return std::exchange(own_, std::nullopt);
    Frame& frame = frames_.back();
    if (frame.at == frame.rows.size() && !frame.ended) {
      ATOLL_TRY(fetch_more(frame));
      continue;
    }
    const bool has_row = frame.at < frame.rows.size();
    if (!frame.waiting.empty() &&
        (!has_row || comes_before(frame.waiting.back().row.name, frame.rows[frame.at].name))) {
      ATOLL_TRY(enter_waiting());
      continue;
    }
    if (!has_row) {
      frames_.pop_back();
      continue;
    }
    // The last row of a page is kept: the next page begins behind it.
    EntryRow row = frame.at + 1 == frame.rows.size() && !frame.ended
                       ? frame.rows[frame.at]
                       : std::move(frame.rows[frame.at]);
    ++frame.at;
    if (row.is_directory) {
      frame.waiting.push_back({std::move(row), {}});
    } else {
      std::string key = frame.path + row.name;
      return WalkedObject{std::move(key), std::move(row)};
    }
  }
  return std::nullopt;
}

}  // namespace atl::storage
