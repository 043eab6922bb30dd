// Metadata of an object, "NAME=VALUE" lines: what is understood of it is written and understood the same.
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "fs/posix_metadata.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::fs;
  atl::storage::Metadata metadata;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t equals = line.find('=');
    if (equals != std::string_view::npos)
      metadata.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  const PosixFacts facts = read_posix(metadata);
  ATOLL_CHECK(!facts.mode || (*facts.mode & S_ISUID) == 0) << *facts.mode;
  const Xattrs xattrs = read_xattrs(metadata);
  Row row;
  row.mode = facts.mode.value_or(S_IFREG);
  row.uid = facts.uid.value_or(0);
  row.gid = facts.gid.value_or(0);
  row.accessed_ns = facts.accessed_ns.value_or(0);
  row.modified_ns = facts.modified_ns.value_or(0);
  write_posix(row, metadata);
  write_xattrs(xattrs, metadata);
  const PosixFacts again = read_posix(metadata);
  ATOLL_CHECK(again.mode == row.mode && again.uid == row.uid && again.gid == row.gid);
  ATOLL_CHECK(again.accessed_ns == row.accessed_ns && again.modified_ns == row.modified_ns);
  ATOLL_CHECK(read_xattrs(metadata) == xattrs);
  return 0;
}
