#include "fs/directory_stream.h"

#include <algorithm>

namespace atl::fs {
namespace {

// A getdents(2) of glibc's takes about 200. More at a time saves queries of the layer's database.
constexpr size_t kPageEntries = 1000;

}  // namespace

void DirectoryStream::drop_page() {
  for (const Entry& entry : page_) {
    if (entry.counted) layer_.forget(entry.named.attributes.inode, 1);
  }
  page_.clear();
}

// Makes the page that holds `position` current; an empty one at the end.
FsResult<void> DirectoryStream::load(uint64_t position, bool count_lookups) {
  if (position == 0 || starts_.empty()) starts_.assign(1, {0, ""});
  const auto after = std::ranges::upper_bound(
      starts_, position, {}, [](const auto& start) { return start.first; });
  auto [start, name] = *std::prev(after);
  for (;;) {
    drop_page();
    page_start_ = start;
    last_page_ = true;
    ATOLL_TRY(layer_.list(directory_, name, count_lookups, [&](const NamedAttributes& named) {
      page_.push_back({named, count_lookups});
      last_page_ = page_.size() < kPageEntries;
      return last_page_;
    }));
    start += page_.size();
    if (last_page_) return {};
    name = page_.back().named.name;
    if (starts_.back().first < start) starts_.emplace_back(start, name);
    if (position < start) return {};
  }
}

// For an entry whose counted lookup the kernel has had already.
NamedAttributes DirectoryStream::looked_up(const NamedAttributes& named) {
  const auto again = layer_.lookup(directory_, named.name);
  return {named.name, again ? *again : Attributes{.mode = named.attributes.mode}};
}

FsResult<void> DirectoryStream::read(
    uint64_t position,
    bool count_lookups,
    const std::function<bool(uint64_t, const NamedAttributes&)>& visit) {
  const std::lock_guard lock(mutex_);
  if (position == 0 || starts_.empty()) ATOLL_TRY(load(position, count_lookups));
  for (;; ++position) {
    if (!holds(position)) {
      if (last_page_ && position >= page_start_) return {};
      ATOLL_TRY(load(position, count_lookups));
      if (!holds(position)) return {};
    }
    Entry& entry = page_[position - page_start_];
    if (count_lookups && !entry.counted) {
      const NamedAttributes again = looked_up(entry.named);
      if (visit(position, again)) continue;
      if (again.attributes.inode != 0) layer_.forget(again.attributes.inode, 1);
      return {};
    }
    if (!visit(position, entry.named)) return {};
    if (count_lookups) entry.counted = false;
  }
}

}  // namespace atl::fs
