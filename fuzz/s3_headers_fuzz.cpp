// Headers of answers, and metadata on its way into headers. The first line is one value, the others are headers.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "storage/s3/s3_errors.h"
#include "storage/s3/s3_headers.h"

namespace {

void check_value(std::string_view value) {
  const auto range = atl::storage::parse_content_range(value);
  if (range && (range->first > range->last || range->last >= range->total)) std::abort();
  // No date before 1970 or so late that arithmetic with it overflows.
  for (const auto& time :
       {atl::storage::parse_http_date(value), atl::storage::parse_iso_date(value)}) {
    if (time &&
        (time->time_since_epoch().count() < 0 || *time + std::chrono::hours(24 * 365) < *time))
      std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  atl::storage::HttpResponse response;
  response.status = 200;
  for (bool is_first = true; !text.empty(); is_first = false) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (is_first) {
      check_value(line);
      continue;
    }
    const size_t colon = std::min(line.find(':'), line.size());
    response.headers.push_back({std::string(line.substr(0, colon)),
                                std::string(line.substr(std::min(colon + 1, line.size())))});
  }
  const auto info = atl::storage::object_info("key", response);
  if (info && !info->etag.ends_with('"')) std::abort();
  // What is accepted as metadata cannot end a header and begin another.
  const auto headers = atl::storage::metadata_headers(atl::storage::metadata_of(response));
  if (headers) {
    for (const auto& [name, value] : *headers) {
      if ((name + value).find_first_of("\r\n") != std::string::npos) std::abort();
    }
  }
  return 0;
}
