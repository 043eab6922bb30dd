// AWS's services besides S3, as far as Atoll speaks to them: how they are called, where they are, who signs for them.
//
// Source: the services' API references and botocore 1.44's models (endpoint prefixes, signing names, API versions,
// partitions.json).
#pragma once

#include <string>
#include <string_view>

namespace atl::aws {

struct AwsService {
  std::string_view name;  // for messages: "SageMaker"
  std::string_view id;  // "sagemaker": AWS_ENDPOINT_URL_SAGEMAKER and a profile's services section
  std::string_view host;          // its first labels: "api.sagemaker"
  std::string_view signing_name;  // also what its permissions begin with: "sagemaker"
  std::string_view
      target;  // JSON protocol: what X-Amz-Target begins with; "" for a service of the Query protocol
  std::string_view version;  // Query protocol: "2016-11-15"
  bool is_global = false;    // one endpoint for all regions of a partition
};

inline constexpr AwsService kSageMaker{
    "SageMaker", "sagemaker", "api.sagemaker", "sagemaker", "SageMaker", ""};
inline constexpr AwsService kCloudWatchLogs{
    "CloudWatch Logs", "cloudwatch_logs", "logs", "logs", "Logs_20140328", ""};
inline constexpr AwsService kFsx{"FSx", "fsx", "fsx", "fsx", "AWSSimbaAPIService_v20180301", ""};
inline constexpr AwsService kEc2{"EC2", "ec2", "ec2", "ec2", "", "2016-11-15"};
inline constexpr AwsService kIam{"IAM", "iam", "iam", "iam", "", "2010-05-08", true};
inline constexpr AwsService kSts{"STS", "sts", "sts", "sts", "", "2011-06-15"};

struct ServiceAddress {
  std::string host;            // "api.sagemaker.eu-central-1.amazonaws.com"
  std::string signing_region;  // the region, but for a global service
};
ServiceAddress address_of(const AwsService& service, std::string_view region);

// The second word of a region's ARNs: "aws", "aws-cn", "aws-us-gov", ….
std::string_view partition_of(std::string_view region);

}  // namespace atl::aws
