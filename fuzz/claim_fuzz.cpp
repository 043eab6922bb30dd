// What lies at a bucket's claim key, whoever put it there. Whatever the bytes: a holder, known or not, who survives
// being written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "storage/cache/claim_holder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::storage;
  const auto holder =
      ClaimHolder::from_json(std::string_view(reinterpret_cast<const char*>(data), size));
  (void)holder.name();
  (void)holder.is_alive();
  ATOLL_CHECK(ClaimHolder::from_json(holder.to_json()) == holder) << holder.to_json();
  return 0;
}
