#include "storage/cache/jumping_read.h"

#include <algorithm>
#include <iterator>

namespace atl::storage {

JumpingRead::JumpingRead(BlockShelf& shelf,
                         BlockFetcher& fetcher,
                         CachedObject object,
                         uint64_t offset,
                         uint64_t size_bytes)
    : shelf_(shelf),
      fetcher_(fetcher),
      object_(std::make_shared<const CachedObject>(std::move(object))),
      offset_(offset),
      size_bytes_(size_bytes) {
  const uint64_t end = offset + size_bytes;
  const uint64_t block_bytes = object_->block_bytes;
  for (uint64_t block = offset / block_bytes; block * block_bytes < end; ++block) {
    look_for(
        block, std::max(offset, block * block_bytes), std::min(end, (block + 1) * block_bytes));
  }
}

// The bytes [begin, end), which lie in this block.
void JumpingRead::look_for(uint64_t block, uint64_t begin, uint64_t end) {
  const bool whole = end - begin == object_->data_bytes(block);
  if (!whole && find(*object_, block, begin, end, found_)) return;
  if (!whole && !parts_) {
    if (auto parts = parts_of(*object_)) {
      parts_ = std::make_shared<const CachedObject>(std::move(*parts));
    }
  }
  if (whole || !parts_ || parts_of_bytes(begin, end - begin) == parts_of_block(*object_, block)) {
    ask(wanted_, object_, block);
  } else {
    look_for_parts(block, begin, end);
  }
}

void JumpingRead::look_for_parts(uint64_t block, uint64_t begin, uint64_t end) {
  const PartRange wanted = parts_of_bytes(begin, end - begin);
  Found found;
  std::vector<uint64_t> missing;
  for (uint64_t part = wanted.first; part < wanted.first + wanted.count; ++part) {
    const uint64_t from = std::max(begin, part * kPartBytes);
    const uint64_t to = std::min(end, (part + 1) * kPartBytes);
    if (!shelf_.holds(*parts_, part) || !find(*parts_, part, from, to, found)) {
      missing.push_back(part);
    }
  }
  if (!missing.empty() && fetcher_.is_coming(*object_, block)) {
    ask(wanted_, object_, block);
    return;
  }
  std::move(found.begin(), found.end(), std::back_inserter(found_));
  for (const uint64_t part : missing) ask(wanted_, parts_, part);
  if (!missing.empty()) ask_for_rest(parts_of_block(*object_, block), wanted);
}

// No more is read and checked than is wanted.
bool JumpingRead::find(
    const CachedObject& object, uint64_t index, uint64_t begin, uint64_t end, Found& found) const {
  auto bytes = shelf_.find(object, index, begin - index * object.block_bytes, end - begin);
  if (bytes) found.emplace_back(begin, std::move(*bytes));
  return bytes.has_value();
}

// Where the block has been read before.
void JumpingRead::ask_for_rest(PartRange in_block, PartRange wanted) {
  std::vector<uint64_t> missing;
  bool was_read = false;
  for (uint64_t part = in_block.first; part < in_block.first + in_block.count; ++part) {
    if (shelf_.holds(*parts_, part)) {
      was_read = true;
    } else if (!wanted.contains(part)) {
      missing.push_back(part);
    }
  }
  if (!was_read) return;
  for (const uint64_t part : missing) ask(rest_, parts_, part);
}

void JumpingRead::ask(std::vector<Asked>& list,
                      const std::shared_ptr<const CachedObject>& object,
                      uint64_t index) {
  const bool goes_on = !list.empty() && list.back().object == object &&
                       list.back().first + list.back().count == index;
  if (goes_on) {
    ++list.back().count;
  } else {
    list.push_back({object, index, 1});
  }
}

void JumpingRead::bring(const std::shared_ptr<Remote>& remote, BlockGathering::Done done) && {
  uint64_t pieces = found_.size();
  for (const Asked& asked : wanted_) pieces += asked.count;
  const auto gathering =
      std::make_shared<BlockGathering>(offset_, size_bytes_, pieces, std::move(done));
  for (auto& [at, bytes] : found_) gathering->add(at, std::move(bytes));
  for (const auto& [object, first, count] : wanted_) {
    const auto take = [gathering, block_bytes = object->block_bytes](uint64_t index,
                                                                     Result<Blob> bytes) {
      gathering->add(index * block_bytes, std::move(bytes));
    };
    fetcher_.read(remote, object, first, count, BlockCache::Urgency::kNow, take);
  }
  for (const auto& [object, first, count] : rest_) {
    const auto ignore = [](uint64_t, const Result<Blob>&) {};
    fetcher_.read(remote, object, first, count, BlockCache::Urgency::kAhead, ignore);
  }
}

}  // namespace atl::storage
