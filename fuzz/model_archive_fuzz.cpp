// model.tar.gz from outside: what is unpacked are regular files within their folder, as many and as large as the limits
// allow, and a refused archive leaves nothing behind.
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/check.h"
#include "sagemaker/archive.h"

namespace {

namespace stdfs = std::filesystem;

const stdfs::path& folder() {
  static const stdfs::path made = [] {
    std::string name = (stdfs::temp_directory_path() / "atoll-archive-fuzz-XXXXXX").string();
    ATOLL_CHECK(::mkdtemp(name.data()) != nullptr);
    return stdfs::path(name);
  }();
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::sagemaker;
  const stdfs::path inside = folder() / "inside";
  stdfs::create_directory(inside);
  const auto* const bytes = reinterpret_cast<const std::byte*>(data);
  const ArchiveLimits limits{.max_bytes = 1 << 20, .max_files = 20};
  const auto names = unpack_archive(atl::storage::Blob(std::vector<std::byte>(bytes, bytes + size)),
                                    "m.tar.gz",
                                    inside,
                                    nullptr,
                                    limits);
  size_t files = 0;
  uint64_t sum = 0;
  for (const auto& entry : stdfs::recursive_directory_iterator(inside)) {
    ATOLL_CHECK(!entry.is_symlink());
    if (entry.is_directory()) continue;
    ATOLL_CHECK(entry.is_regular_file());
    ++files;
    sum += entry.file_size();
  }
  ATOLL_CHECK(files == (names ? names->size() : 0) && sum <= limits.max_bytes);
  stdfs::remove_all(inside);
  // Nothing beside it.
  ATOLL_CHECK(stdfs::is_empty(folder()));
  return 0;
}
