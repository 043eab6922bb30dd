// model.tar.gz: written of what the hosts of a job leave behind, and read back as bytes from outside.
//
// Reading takes regular files and folders alone. A link, a device, an absolute name, "..", a name that comes twice, more files
// or bytes than the limits, anything that is no (gzipped) tar is refused, and nothing of the archive stays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::sagemaker {

struct ArchiveContents {
  uint64_t files = 0;
  uint64_t bytes = 0;
  // What was left out, "algo-2/model/link: is no regular file", and names that a later folder has, too.
  std::vector<std::string> notes;
};

// The regular files of all folders, as one tree: where two have a name, the first one's is taken, and a note says so. Names
// in byte order, owned by nobody. The file is there whole or not at all. A folder that is not there is empty.
Result<ArchiveContents> write_archive(std::span<const std::filesystem::path> folders,
                                      const std::filesystem::path& file,
                                      bool compressed = true);

struct ArchiveLimits {
  uint64_t max_bytes = uint64_t{16} << 30;  // unpacked
  size_t max_files = 10'000;
};

// Unpacks what `wanted` wants (null: everything) into `folder`, which must exist and be empty; the names that it has written.
// `name` is the archive's, for messages. kCorrupt, kInvalidInput or kIo.
Result<std::vector<std::string>> unpack_archive(
    const storage::Blob& archive,
    std::string_view name,
    const std::filesystem::path& folder,
    const std::function<bool(std::string_view name)>& wanted = nullptr,
    const ArchiveLimits& limits = {});

// "model.tar.gz", "s3://b/j/output/model.tar.gz", "m.tgz"
bool is_archive_name(std::string_view name);

}  // namespace atl::sagemaker
