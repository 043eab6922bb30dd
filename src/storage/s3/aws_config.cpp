#include "storage/s3/aws_config.h"

#include <fmt/format.h>

#include <algorithm>

namespace atl::storage {
namespace {

bool is_true(std::string_view text) {
  constexpr std::string_view kTrue = "true";
  return std::ranges::equal(
      text, kTrue, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

class ConfigReader {
 public:
  ConfigReader(const EnvironmentVariable& variable,
               const AwsProfiles& profiles,
               std::string profile)
      : variable_(variable), profiles_(profiles), profile_(std::move(profile)) {}

  // The first variable that is set, else the profile's property.
  std::string first(std::initializer_list<std::string_view> variables,
                    std::string_view property) const {
    for (const std::string_view name : variables) {
      if (auto value = set_variable(variable_, name)) return *value;
    }
    return std::string(profiles_.value(profile_, property));
  }

  // `service` as in a services section, and in upper case in its variable: AWS_ENDPOINT_URL_S3.
  Result<std::string> endpoint(std::string_view service) const {
    if (is_true(
            first({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"}, "ignore_configured_endpoint_urls"))) {
      return std::string{};
    }
    std::string url;
    std::string upper_case(service);
    for (char& c : upper_case) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    for (const auto& name :
         {fmt::format("AWS_ENDPOINT_URL_{}", upper_case), std::string("AWS_ENDPOINT_URL")}) {
      if (url.empty()) url = set_variable(variable_, name).value_or("");
    }
    if (url.empty()) url = of_services(service);
    if (url.empty()) url = profiles_.value(profile_, "endpoint_url");
    return checked_endpoint_url(std::move(url));
  }

  const std::string& profile() const { return profile_; }

 private:
  std::string of_services(std::string_view service) const {
    const auto section = profiles_.services.find(profiles_.value(profile_, "services"));
    if (section == profiles_.services.end()) return {};
    const auto found = section->second.find(fmt::format("{}.endpoint_url", service));
    return found == section->second.end() ? std::string{} : found->second;
  }

  const EnvironmentVariable& variable_;
  const AwsProfiles& profiles_;
  std::string profile_;
};

}  // namespace

Result<AwsConfig> read_aws_config(const EnvironmentVariable& variable, std::string_view profile) {
  const AwsProfiles profiles = ATOLL_TRY(load_profiles(variable));
  const ConfigReader reader(
      variable, profiles, ATOLL_TRY(choose_profile(profiles, variable, profile)));
  AwsConfig config;
  config.profile = reader.profile();
  config.region = reader.first({"AWS_REGION", "AWS_DEFAULT_REGION"}, "region");
  if (!config.region.empty() && !is_region(config.region)) {
    return fail(ErrorCode::kInvalidInput,
                "the configured AWS region is not a region's name, such as eu-central-1",
                "look at AWS_REGION, AWS_DEFAULT_REGION and the profile's region");
  }
  config.endpoint_url = ATOLL_TRY(reader.endpoint("s3"));
  config.sts_endpoint_url = ATOLL_TRY(reader.endpoint("sts"));
  config.ca_bundle = reader.first({"AWS_CA_BUNDLE"}, "ca_bundle");
  for (const char* curls : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (config.ca_bundle.empty()) config.ca_bundle = set_variable(variable, curls).value_or("");
  }
  const std::string_view style = profiles.value(config.profile, "s3.addressing_style");
  if (style == "path") config.path_style = true;
  if (style == "virtual") config.path_style = false;
  return config;
}

Result<std::string> read_endpoint_url(const EnvironmentVariable& variable,
                                      std::string_view profile,
                                      std::string_view service) {
  const AwsProfiles profiles = ATOLL_TRY(load_profiles(variable));
  const ConfigReader reader(
      variable, profiles, ATOLL_TRY(choose_profile(profiles, variable, profile)));
  return reader.endpoint(service);
}

Result<std::string> checked_endpoint_url(std::string url) {
  if (url.empty()) return url;
  const std::string_view view = url;
  const size_t scheme =
      view.starts_with("https://") ? 8 : (view.starts_with("http://") ? 7 : view.size());
  const bool plain = std::ranges::all_of(view, [](char c) { return c > ' ' && c < 0x7f; });
  if (scheme >= view.size() || view[scheme] == '/' || !plain ||
      view.find_first_of("?#@") != std::string_view::npos) {
    return fail(ErrorCode::kInvalidInput,
                "the configured endpoint_url is not http://HOST or https://HOST",
                "look at AWS_ENDPOINT_URL and those that name a service, such as "
                "AWS_ENDPOINT_URL_S3, and at the profile's endpoint_url");
  }
  while (url.ends_with('/')) url.pop_back();
  return url;
}

// botocore's partitions.json, version 1.44.
std::string_view aws_domain(std::string_view region) {
  struct Partition {
    std::string_view prefix;
    std::string_view domain;
  };
  static constexpr auto kPartitions = std::to_array<Partition>({{"cn-", "amazonaws.com.cn"},
                                                                {"eusc-", "amazonaws.eu"},
                                                                {"us-iso-", "c2s.ic.gov"},
                                                                {"us-isob-", "sc2s.sgov.gov"},
                                                                {"eu-isoe-", "cloud.adc-e.uk"},
                                                                {"us-isof-", "csp.hci.ic.gov"}});
  for (const Partition& partition : kPartitions) {
    if (region.starts_with(partition.prefix)) return partition.domain;
  }
  return "amazonaws.com";
}

bool is_region(std::string_view region) {
  constexpr size_t kMaxLabelBytes = 63;  // of a host name (RFC 1035)
  return !region.empty() && region.size() <= kMaxLabelBytes &&
         std::ranges::all_of(region, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-';
         });
}

}  // namespace atl::storage
