// What comes over a connection between two launchers. What is a message is written and read again as the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "job/agent_message.h"
#include "job/lease_record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::job;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto message = parse_message(text)) {
    std::string line = to_line(*message);
    ATOLL_CHECK(line.size() <= kMaxMessageBytes && line.find('\n') == line.size() - 1) << line;
    line.pop_back();
    const auto again = parse_message(line);
    ATOLL_CHECK(again && *again == *message) << line;
  }
  if (const auto record = parse_lease_record(text)) {
    const auto again = parse_lease_record(record->to_json());
    ATOLL_CHECK(again && *again == *record) << record->to_json();
  }
  return 0;
}
