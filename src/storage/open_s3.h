// s3://… with everything that belongs to it: the client, the listing, the cache, as the environment says
// (storage/environment.h).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/cache/block_cache.h"
#include "storage/environment.h"
#include "storage/namespace/namespace.h"
#include "storage/namespace/sqs_events.h"
#include "storage/remote.h"
#include "storage/storage.h"

namespace atl::storage {

bool is_s3_uri(std::string_view uri);

struct Bucket {
  std::shared_ptr<Remote> remote;
  std::shared_ptr<Namespace> names;
  std::shared_ptr<BlockCache> cache;
  CacheSettings settings;
};
// Asks the bucket nothing yet. What a process opens while something of the same kind is open is shared: the
// connections, the listing of the same URI, the cache. Errors: kInvalidInput for a URI or settings that are
// none; those of BlockCache::open and Namespace::open.
struct BucketOptions {
  bool direct_read_ahead = false;  // of BlockCacheOptions
};
Result<Bucket> open_bucket(std::string_view uri, BucketOptions options = {});
// What S3 tells an SQS queue of this URI's objects comes into `names` as soon as it is told, while the result lives
// (storage/namespace/sqs_events.h). kInvalidInput: no queue's URL.
Result<std::unique_ptr<SqsEvents>> hear_events(std::string_view uri,
                                               std::shared_ptr<Namespace> names,
                                               std::string queue_url,
                                               std::function<void(std::string_view line)> log);
// The client alone, for what is to be neither listed nor cached.
Result<std::shared_ptr<Remote>> open_remote(std::string_view uri);
// One of the caller's own, none of whose requests takes longer than `patience`.
Result<std::shared_ptr<Remote>> open_impatient_remote(std::string_view uri,
                                                      std::chrono::milliseconds patience);

// "s3://BUCKET/PREFIX" as a store.
Result<std::unique_ptr<ObjectStore>> open_s3_store(std::string_view uri);
// "s3://BUCKET/PREFIX/KEY".
Result<Location> open_s3_location(std::string_view uri);

}  // namespace atl::storage
