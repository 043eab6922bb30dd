// The control channel of a mount: whatever bytes come are frames, requests, replies or refused; what is
// taken can be said again and means the same. The table of mounts goes through its parser, too.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "fs/control_message.h"
#include "fs/mount_point.h"

namespace {

using namespace atl::fs;  // NOLINT

void try_message(std::string_view text) {
  if (const auto request = parse_request(text)) {
    const auto again = parse_request(to_json(*request));
    ATOLL_CHECK(again.has_value()) << again.error().to_string();
    ATOLL_CHECK(*again == *request);
    ATOLL_CHECK(request->path.find("..") != 0 || request->path.size() > 2) << request->path;
  }
  if (const auto reply = parse_reply(text)) {
    const auto again = parse_reply(to_json(*reply));
    ATOLL_CHECK(again.has_value()) << again.error().to_string();
    ATOLL_CHECK(to_json(*again) == to_json(*reply));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try_message(bytes);
  FrameReader reader(kMaxRequestBytes);
  // In two pieces, so that frames are also put together.
  reader.add(bytes.substr(0, size / 2));
  reader.add(bytes.substr(size / 2));
  for (;;) {
    const auto next = reader.next();
    if (!next || !*next) break;
    try_message(**next);
  }
  for (const Mount& mount : parse_mounts(bytes)) {
    ATOLL_CHECK(mounted_at(parse_mounts(bytes), mount.point).has_value());
  }
  return 0;
}
