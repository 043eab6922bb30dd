// Messages from an SQS queue, which anybody may send to: events with a bucket's key, or an error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "storage/namespace/s3_event.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using atl::storage::ObjectEvent;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto events = atl::storage::parse_s3_events(text);
  if (!events) {
    ATOLL_CHECK(!events.error().to_string().empty());
    return 0;
  }
  for (const auto& [bucket, event] : *events) {
    ATOLL_CHECK(!event.info.key.empty());
    ATOLL_CHECK(event.change != ObjectEvent::Change::kPut || !event.info.etag.empty());
  }
  return 0;
}
