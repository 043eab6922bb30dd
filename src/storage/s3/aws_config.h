// Where a client goes, as AWS's own programs are told it: region, endpoint, certificates. Keys and tokens
// are credentials.h's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/s3/aws_profiles.h"

namespace atl::storage {

struct AwsConfig {
  std::string profile = "default";
  // AWS_REGION, AWS_DEFAULT_REGION, the profile's region; "" where nothing names one.
  std::string region;
  // Of S3: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's services section, its endpoint_url. "": AWS's own,
  // https://BUCKET.s3.REGION.SUFFIX. Without a '/' at its end. None of these counts where
  // AWS_IGNORE_CONFIGURED_ENDPOINT_URLS or the profile's ignore_configured_endpoint_urls is true.
  std::string endpoint_url;
  // The same for STS, with AWS_ENDPOINT_URL_STS; there "" means https://sts.REGION.SUFFIX.
  std::string sts_endpoint_url;
  // AWS_CA_BUNDLE, the profile's ca_bundle, or, as curl has it, CURL_CA_BUNDLE, SSL_CERT_FILE: a file of
  // certificates; "": the system's.
  std::string ca_bundle;
  // The profile's s3 addressing_style: true for "path", false for "virtual", nullopt for "auto" and where it says nothing.
  std::optional<bool> path_style;
};

// `profile` goes before AWS_PROFILE where not empty. kInvalidInput for a profile that is not there, a file that is not one,
// a region that cannot be part of a host name, an endpoint that is no http:// or https:// URL.
Result<AwsConfig> read_aws_config(const EnvironmentVariable& variable,
                                  std::string_view profile = {});

// Of another service: `service` is its id in lower case with '_' for blanks, "sagemaker", "cloudwatch_logs", as in its variable
// AWS_ENDPOINT_URL_CLOUDWATCH_LOGS and in a services section. "": AWS's own. Errors as above.
Result<std::string> read_endpoint_url(const EnvironmentVariable& variable,
                                      std::string_view profile,
                                      std::string_view service);

// Without a '/' at its end; kInvalidInput where it is no http:// or https:// URL of a host.
Result<std::string> checked_endpoint_url(std::string url);

// The domain of AWS's services in a region: "amazonaws.com", in China "amazonaws.com.cn", ….
std::string_view aws_domain(std::string_view region);

// Whether `region` can be part of a host name: letters, digits, '-'.
bool is_region(std::string_view region);

}  // namespace atl::storage
