// The system calls on open files that the store and the spool share. `path` is for messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::storage {

// "WHAT PATH: " and errno's meaning.
tl::unexpected<Error> fail_on(std::string_view what, const std::string& path);

Result<void> write_all(int fd, std::span<const std::byte> bytes, const std::string& path);
// The blob holds the map; the descriptor may be closed. Not for an empty file.
Result<Blob> map_file(int fd, uint64_t size_bytes, const std::string& path);

}  // namespace atl::storage
