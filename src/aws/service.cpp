#include "aws/service.h"

#include <fmt/format.h>

#include <array>

#include "storage/s3/aws_config.h"

namespace atl::aws {
namespace {

struct Partition {
  std::string_view region_prefix;
  std::string_view name;
  // Of IAM, the one global service here.
  std::string_view iam_host;
  std::string_view iam_region;
};

constexpr auto kPartitions = std::to_array<Partition>(
    {{"cn-", "aws-cn", "iam.cn-north-1.amazonaws.com.cn", "cn-north-1"},
     {"us-gov-", "aws-us-gov", "iam.us-gov.amazonaws.com", "us-gov-west-1"},
     {"us-iso-", "aws-iso", "iam.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"},
     {"us-isob-", "aws-iso-b", "iam.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"},
     {"eu-isoe-", "aws-iso-e", "iam.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"},
     {"us-isof-", "aws-iso-f", "iam.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"},
     {"eusc-", "aws-eusc", "iam.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"}});
constexpr Partition kCommercial{"", "aws", "iam.amazonaws.com", "us-east-1"};

const Partition& find_partition(std::string_view region) {
  for (const Partition& partition : kPartitions) {
    if (region.starts_with(partition.region_prefix)) return partition;
  }
  return kCommercial;
}

}  // namespace

ServiceAddress address_of(const AwsService& service, std::string_view region) {
  if (service.is_global) {
    const Partition& partition = find_partition(region);
    return {std::string(partition.iam_host), std::string(partition.iam_region)};
  }
  return {fmt::format("{}.{}.{}", service.host, region, storage::aws_domain(region)),
          std::string(region)};
}

std::string_view partition_of(std::string_view region) { return find_partition(region).name; }

}  // namespace atl::aws
