// The manifest of a checkpoint: one or an error, and what is accepted survives being written and read again. The
// bytes are taken as they are, and with a checksum that is right, so that the parser behind it is reached.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "train/manifest.h"

namespace {

void read(std::string_view text) {
  const auto manifest = atl::train::manifest_from_text(text, "seed");
  if (!manifest) {
    ATOLL_CHECK(!manifest.error().to_string().empty());
    return;
  }
  ATOLL_CHECK(!manifest->shards.empty());
  const auto again = atl::train::manifest_from_text(to_text(*manifest), "again");
  ATOLL_CHECK(again.has_value()) << again.error().to_string();
  ATOLL_CHECK(*again == *manifest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read(text);
  read(atl::train::sealed_manifest(text));
  const auto key = atl::train::parse_checkpoint_key(text);
  ATOLL_CHECK(!key || key->step >= 0);
  return 0;
}
