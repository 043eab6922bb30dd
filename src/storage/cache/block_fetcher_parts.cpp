// Blocks that are put together from their parts.
#include "storage/cache/block_fetcher.h"
#include "storage/cache/block_gathering.h"

namespace atl::storage {

// One that is put together is not fetched as a whole: what is missing of it comes by parts.
bool BlockFetcher::is_coming(const CachedObject& object, uint64_t index) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = flights_.find(key_of(object, index));
    if (found != flights_.end()) return found->second->state != State::kPutTogether;
  }
  return leases_.is_held(object.block_id(index));
}

// Out of those that the shelf does not have.
void BlockFetcher::take_those_with_parts(Run& run) {
  std::vector<std::pair<Flight*, PartsObject>> with_parts;
  std::erase_if(run.flights, [&](Flight* flight) {
    auto parts = parts_there(*flight->object, flight->key.index);
    if (!parts) return false;
    with_parts.emplace_back(flight, std::move(parts));
    return true;
  });
  for (const auto& [flight, parts] : with_parts) put_together(flight, parts);
}

// Null: there is no part of the block, nor is one on its way in this process.
BlockFetcher::PartsObject BlockFetcher::parts_there(const CachedObject& object, uint64_t index) {
  auto parts = parts_of(object);
  if (!parts || !has_parts(*parts, parts_of_block(object, index))) return nullptr;
  return std::make_shared<const CachedObject>(std::move(*parts));
}

bool BlockFetcher::has_parts(const CachedObject& parts, PartRange in_block) {
  const uint64_t end = in_block.first + in_block.count;
  for (uint64_t part = in_block.first; part < end; ++part) {
    if (shelf_.holds(parts, part)) return true;
  }
  const std::lock_guard lock(mutex_);
  for (uint64_t part = in_block.first; part < end; ++part) {
    if (flights_.contains(key_of(parts, part))) return true;
  }
  return false;
}

// Nothing waits here: the last of the parts lands the flight, on whatever thread it comes.
void BlockFetcher::put_together(Flight* flight, const PartsObject& parts) {
  const Key key = flight->key;
  const CachedObject& object = *flight->object;
  const PartRange in_block = parts_of_block(object, key.index);
  const auto remote = flight->remote;
  const auto gathering = std::make_shared<BlockGathering>(
      key.index * object.block_bytes,
      object.data_bytes(key.index),
      in_block.count,
      [this, flight](const Result<Blob>& block) { land(flight, block); });
  Urgency urgency = Urgency::kNow;
  {
    const std::lock_guard lock(mutex_);
    flight->state = State::kPutTogether;
    flight->parts = parts;
    urgency = flight->urgency;
  }
  read(remote,
       parts,
       in_block.first,
       in_block.count,
       urgency,
       [gathering](uint64_t part, Result<Blob> bytes) {
         gathering->add(part * kPartBytes, std::move(bytes));
       });
  // From here on the flight may have landed. Who came for it before its parts had flights could not raise them.
  if (urgency == Urgency::kNow) return;
  {
    const std::lock_guard lock(mutex_);
    const auto found = flights_.find(key);
    if (found == flights_.end() || found->second->urgency == Urgency::kAhead) return;
    raise(*found->second);
  }
  pump();
}

}  // namespace atl::storage
