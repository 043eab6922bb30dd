// What a block cache is made with besides its options: what tests replace.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/error.h"
#include "storage/cache/block_cache.h"
#include "storage/cache/file_operations.h"
#include "storage/cache/leases.h"
#include "storage/cache/process_identity.h"

namespace atl::storage {

struct BlockCacheParts {
  FileOperations* files = nullptr;  // outlives the cache
  ProcessIdentity self = this_process();
  std::string host;
  Leases::Clock clock = [] { return std::chrono::steady_clock::now(); };
};

Result<std::shared_ptr<BlockCache>> open_block_cache(BlockCacheOptions options,
                                                     const BlockCacheParts& parts);

}  // namespace atl::storage
