// Where a bucket is: the host that is asked, and how the bucket is named there.
//
// AWS's own: https://BUCKET.s3.REGION.amazonaws.com/KEY, or, where the bucket's name has dots (no certificate
// covers them) or is no host name, https://s3.REGION.amazonaws.com/BUCKET/KEY. Another endpoint:
// URL/BUCKET/KEY, or with virtual hosts SCHEME://BUCKET.HOST/KEY.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/s3/signer.h"

namespace atl::storage {

class S3Endpoint {
 public:
  // `url`: "" for AWS's own. kInvalidInput for a bucket or a URL that cannot be one.
  static Result<S3Endpoint> make(std::string bucket,
                                 std::string_view url,
                                 std::optional<bool> path_style);

  const std::string& bucket() const { return bucket_; }
  bool is_aws() const { return host_.empty(); }
  // Scheme, host and path; the region matters only at AWS. "" for the key: the bucket itself.
  UnsignedRequest request(std::string_view key, std::string_view region) const;
  // Without the bucket: "aws", "http://127.0.0.1:7480".
  std::string identity() const;
  bool is_encrypted() const { return scheme_ == "https"; }

 private:
  std::string bucket_;
  std::string scheme_ = "https";
  std::string host_;  // with the port where it is not the scheme's own; "" for AWS
  std::string base_;  // of the path, without '/' at its end
  bool path_style_ = true;
};

}  // namespace atl::storage
