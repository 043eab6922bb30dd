// What a block cache is made with besides its options: what tests replace.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "storage/cache/block_cache.h"
#include "storage/cache/file_operations.h"

namespace atl::storage {

struct BlockCacheParts {
  FileOperations* files = nullptr;  // outlives the cache
  std::string boot;
  std::string writer = "0";
};

Result<std::shared_ptr<BlockCache>> open_block_cache(BlockCacheOptions options,
                                                     const BlockCacheParts& parts);

}  // namespace atl::storage
