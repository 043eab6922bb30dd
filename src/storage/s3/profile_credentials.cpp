// What a profile says about credentials. A role's profile names another profile (source_profile), which may be a
// role's again, or a place (credential_source), where the keys come from that ask for the role. Source: "Assume role credential provider"
// and "Settings reference" of the AWS SDKs and Tools reference guide.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "storage/s3/credentials_answer.h"
#include "storage/s3/credentials_sources.h"

namespace atl::storage {
namespace {

// Keys in a file may be of limited time, and renewed by a program that says nothing about it.
constexpr std::chrono::seconds kLookAgain{300};

constexpr auto kSettings = std::to_array<std::string_view>({"aws_access_key_id",
                                                            "role_arn",
                                                            "web_identity_token_file",
                                                            "credential_process",
                                                            "sso_session",
                                                            "sso_start_url",
                                                            "login_session"});

class ProfileResolver {
 public:
  ProfileResolver(const CredentialsContext& context, const AwsProfiles& profiles)
      : context_(context), profiles_(profiles) {}

  // Where the profile is a role's, its keys are those that the role gives.
  Result<FetchedCredentials> resolve(const std::string& profile) {
    const bool is_new = visited_.insert(profile).second;
    if (!is_new) return refuse(profile, "its source_profile leads back to itself");
    if (has(profile, "role_arn") && !has(profile, "web_identity_token_file")) {
      return assume_role(profile);
    }
    return own_keys(profile);
  }

 private:
  std::string value(std::string_view profile, std::string_view property) const {
    return std::string(profiles_.value(profile, property));
  }
  bool has(std::string_view profile, std::string_view property) const {
    return !profiles_.value(profile, property).empty();
  }

  static tl::unexpected<Error> refuse(std::string_view profile, std::string_view what) {
    return fail(ErrorCode::kInvalidInput, fmt::format("AWS profile '{}': {}", profile, what));
  }

  RoleRequest role_of(std::string_view profile) const {
    return {.role_arn = value(profile, "role_arn"),
            .session_name = value(profile, "role_session_name"),
            .external_id = value(profile, "external_id"),
            .duration_s = value(profile, "duration_seconds")};
  }

  Result<FetchedCredentials> own_keys(const std::string& profile) const {
    if (has(profile, "web_identity_token_file")) {
      if (!has(profile, "role_arn")) {
        return refuse(profile, "web_identity_token_file without role_arn");
      }
      return web_identity_credentials(
          context_, role_of(profile), value(profile, "web_identity_token_file"));
    }
    if (has(profile, "aws_access_key_id")) return static_keys(profile);
    if (has(profile, "credential_process")) {
      return process_credentials(value(profile, "credential_process"));
    }
    if (has(profile, "sso_session") || has(profile, "sso_start_url") ||
        has(profile, "login_session")) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("AWS profile '{}' signs in through a browser", profile),
                  fmt::format("make a profile with credential_process = aws configure "
                              "export-credentials --profile {} --format process",
                              profile));
    }
    return refuse(profile, "it names no credentials");
  }

  Result<FetchedCredentials> static_keys(const std::string& profile) const {
    FetchedCredentials fetched{
        .keys = {.access_key_id = value(profile, "aws_access_key_id"),
                 .secret_access_key = value(profile, "aws_secret_access_key"),
                 .session_token = value(profile, "aws_session_token"),
                 .expires = {}},
        .look_again = kLookAgain};
    ATOLL_TRY(check_credentials(fetched.keys, fmt::format("AWS profile '{}'", profile)));
    return fetched;
  }

  Result<FetchedCredentials> assume_role(const std::string& profile) {
    if (has(profile, "mfa_serial")) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("AWS profile '{}' asks for a code of a second factor", profile),
                  "get keys with aws sts assume-role and put them into the environment");
    }
    const FetchedCredentials keys = ATOLL_TRY(source_keys(profile));
    return assumed_role_credentials(context_, role_of(profile), keys.keys);
  }

  Result<FetchedCredentials> source_keys(const std::string& profile) {
    const std::string source = value(profile, "source_profile");
    const std::string place = value(profile, "credential_source");
    if (source.empty() == place.empty()) {
      return refuse(profile, "role_arn needs either source_profile or credential_source");
    }
    if (source.empty()) return keys_of_place(profile, place);
    if (!profiles_.has(source)) {
      return refuse(profile, fmt::format("there is no source_profile '{}'", source));
    }
    // A profile may name itself: the role is asked for with the keys that stand beside it.
    return source == profile ? own_keys(profile) : resolve(source);
  }

  Result<FetchedCredentials> keys_of_place(const std::string& profile, std::string_view place) {
    if (place == "Environment") return environment_credentials(context_);
    if (place == "EcsContainer") return container_credentials(context_);
    if (place != "Ec2InstanceMetadata") {
      return refuse(profile,
                    "credential_source is none of Environment, EcsContainer, Ec2InstanceMetadata");
    }
    std::optional<FetchedCredentials> keys =
        ATOLL_TRY(instance_credentials(context_, profiles_, profile));
    if (!keys) {
      return fail(
          ErrorCode::kPermission,
          fmt::format("AWS profile '{}': no EC2 instance metadata service answers", profile));
    }
    return *std::move(keys);
  }

  const CredentialsContext& context_;
  const AwsProfiles& profiles_;
  std::set<std::string> visited_;
};

}  // namespace

bool profile_has_credentials(const AwsProfiles& profiles, std::string_view profile) {
  return std::ranges::any_of(kSettings, [&](std::string_view setting) {
    return !profiles.value(profile, setting).empty();
  });
}

Result<FetchedCredentials> profile_credentials(const CredentialsContext& context,
                                               const AwsProfiles& profiles,
                                               const std::string& profile) {
  return ProfileResolver(context, profiles).resolve(profile);
}

}  // namespace atl::storage
