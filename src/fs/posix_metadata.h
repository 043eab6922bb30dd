// A file's attributes as user metadata of its object, with the keys that FSx for Lustre writes and reads:
// file-permissions (octal type and mode, "0100664"), file-owner and file-group (numbers), file-atime and
// file-mtime ("<n>ns"; without the suffix milliseconds). What else an object carries is kept.
//
// Extended attributes are ours alone: "atoll-xattr-HEX" of the name without "user.", its value in base64,
// because header names know no upper case and values no bytes.
//
// What comes from the bucket is from outside: a value that does not parse is as if it were not there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fs/journal.h"
#include "storage/remote.h"

namespace atl::fs {

struct PosixFacts {
  std::optional<uint32_t> mode;  // with the type, where the value has one; never setuid
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<int64_t> accessed_ns;  // since 1970
  std::optional<int64_t> modified_ns;
  bool operator==(const PosixFacts&) const = default;
};

PosixFacts read_posix(const storage::Metadata& metadata);
Xattrs read_xattrs(const storage::Metadata& metadata);
// Whether an FSx file system or this one wrote the object.
bool has_posix(const storage::Metadata& metadata);

// Replaces what `metadata` says of these; the rest stays.
void write_posix(const Row& row, storage::Metadata& metadata);
void write_xattrs(const Xattrs& xattrs, storage::Metadata& metadata);
// How many bytes of metadata they take.
size_t metadata_bytes(const Xattrs& xattrs);

// S3 takes 2 KB of user metadata; some of it is left to the other keys and to foreign ones.
inline constexpr size_t kMaxXattrMetadataBytes = 1400;

// Which change of which journal wrote the object, and under which key, so that a write whose answer was
// lost is known again. A copy that somebody else makes lies under another key and is not ours.
inline constexpr std::string_view kWriteTag = "atoll-write";
std::string write_tag(std::string_view journal,
                      std::string_view key,
                      uint64_t inode,
                      uint64_t change);
// `inode`: by an export of this one; null: of any.
bool is_written_by(const storage::Metadata& metadata,
                   std::string_view journal,
                   std::string_view key,
                   std::optional<uint64_t> inode = std::nullopt);

}  // namespace atl::fs
