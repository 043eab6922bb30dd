// Lease files, and the names of processes in them. What is accepted is written back the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "storage/cache/leases.h"
#include "storage/cache/process_identity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::storage;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto lease = LeaseText::parse(text)) {
    ATOLL_CHECK(lease->encode() == text) << lease->encode();
  }
  if (const auto process = ProcessIdentity::parse(text)) {
    const auto again = ProcessIdentity::parse(process->text());
    ATOLL_CHECK(again && *again == *process) << process->text();
  }
  return 0;
}
