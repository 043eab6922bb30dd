// A bucket in S3, or the part of it below a prefix, as a Remote.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/remote.h"
#include "storage/s3/aws_profiles.h"
#include "storage/s3/http_engine.h"
#include "storage/s3/s3_client.h"
#include "storage/s3/s3_upload.h"

namespace atl::storage {

struct S3Location {
  std::string bucket;
  std::string prefix;  // "" or ending in '/'
};
// "s3://BUCKET", "s3://BUCKET/PREFIX". kInvalidInput.
Result<S3Location> parse_s3_uri(std::string_view uri);

struct S3RemoteOptions {
  EnvironmentVariable variable;  // the environment; nullptr: none
  // Before what environment and profile say, where not empty.
  std::string endpoint_url;
  std::string region;
  std::string profile;
  std::optional<bool> path_style;
  bool anonymous = false;
  RetryOptions retries;
  // A request takes no longer, in all; 0: until `retries` and S3ClientOptions end it. For small ones.
  std::chrono::milliseconds patience{0};
  S3TransferOptions transfer;
  HttpEngineOptions http;  // where open_s3_remote() makes the engine
};

// Settings and credentials as AWS's own programs find them. Asks nothing yet: a bucket that is not there shows at the
// first request. `engine`: one that is there already, for several buckets to share.
Result<std::shared_ptr<Remote>> open_s3_remote(std::string_view uri,
                                               S3RemoteOptions options,
                                               std::shared_ptr<HttpEngine> engine = nullptr);

// Over a client that is there.
std::shared_ptr<Remote> make_s3_remote(std::shared_ptr<S3Client> client,
                                       std::string prefix,
                                       S3TransferOptions transfer = {});

}  // namespace atl::storage
