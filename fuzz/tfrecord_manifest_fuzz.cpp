// NAME.manifest.jsonl of a conversion to TFRecords: what is taken can be written and read back to the same, and lines
// that follow it change nothing about it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "dataset/tfrecord_manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::dataset;
  const auto shards = read_manifest({reinterpret_cast<const char*>(data), size});
  std::string written;
  for (const auto& [name, entry] : shards) {
    ATOLL_CHECK(entry.images >= 0) << entry.images;
    written += manifest_line(name, entry);
  }
  ATOLL_CHECK(read_manifest(written) == shards);
  // As a stopped conversion leaves it.
  const std::string cut = written + manifest_line("last", {}).substr(0, 20);
  ATOLL_CHECK(read_manifest(cut) == shards);
  return 0;
}
