#include "storage/namespace/listing_claims.h"

#include "storage/namespace/key_order.h"
#include "storage/namespace/known_ranges.h"

namespace atl::storage {

Result<std::optional<ListingClaims::Held>> claim_unlisted(ListingClaims& claims,
                                                          NamesDatabase& database,
                                                          const std::string& first,
                                                          int64_t since_ns) {
  auto held = claims.take(first);
  if (!held) return held;
  // Who had it between our last look and now has put the page into the database before he let go.
  bool unlisted = false;
  ATOLL_TRY(database.read([&](NamesConnection& c) -> Result<void> {
    unlisted = ATOLL_TRY(first_gap(c, first, key_after(first), since_ns)).has_value();
    return {};
  }));
  if (!unlisted) held.reset();
  return held;
}

}  // namespace atl::storage
