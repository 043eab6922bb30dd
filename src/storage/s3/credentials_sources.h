// Where credentials come from, one function and one file each; credentials.cpp puts them in order. They wait for
// files, programs and the network, and hold nothing back between two calls: tokens and profiles are read
// again each time.
//
// Errors: kInvalidInput for configuration that cannot work, kPermission for a refusal, kUnsupported for
// what Atoll does not do, kIo for the rest. None shows a secret.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/s3/aws_profiles.h"
#include "storage/s3/credentials.h"

namespace atl::storage {

struct FetchedCredentials {
  Credentials keys;
  // For keys without an end that may change all the same (a file that another program rewrites): look
  // again after so long.
  std::optional<std::chrono::seconds> look_again;
};

// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
bool environment_has_credentials(const CredentialsContext& context);
Result<FetchedCredentials> environment_credentials(const CredentialsContext& context);

// A profile of the shared files, with all that it refers to. AWS_PROFILE may name one without any
// credentials.
bool profile_has_credentials(const AwsProfiles& profiles, std::string_view profile);
Result<FetchedCredentials> profile_credentials(const CredentialsContext& context,
                                               const AwsProfiles& profiles,
                                               const std::string& profile);

// STS. A role as a profile or the environment names it.
struct RoleRequest {
  std::string role_arn;
  std::string session_name;  // "": one is made up
  std::string external_id;
  std::string duration_s;  // "": STS's own, an hour
};
Result<FetchedCredentials> assumed_role_credentials(const CredentialsContext& context,
                                                    const RoleRequest& role,
                                                    const Credentials& keys);
// The token file is a service account's of Kubernetes, which is written anew before it ends.
Result<FetchedCredentials> web_identity_credentials(const CredentialsContext& context,
                                                    const RoleRequest& role,
                                                    const std::string& token_file);
// AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN.
bool environment_has_web_identity(const CredentialsContext& context);
Result<FetchedCredentials> environment_web_identity(const CredentialsContext& context);

// credential_process: what the command, run by /bin/sh, prints. It has so long to print all, and then to end.
struct ProcessDeadlines {
  std::chrono::milliseconds answer = std::chrono::minutes(1);
  std::chrono::milliseconds end = std::chrono::seconds(10);
};
Result<FetchedCredentials> process_credentials(const std::string& command,
                                               ProcessDeadlines deadlines = {});

// The endpoint of a container's agent: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI (ECS) or …_FULL_URI (EKS pod identity
// and others).
bool container_has_credentials(const CredentialsContext& context);
Result<FetchedCredentials> container_credentials(const CredentialsContext& context);

// The role of an EC2 instance, by IMDSv2. nullopt where no such endpoint answers within a second, or
// AWS_EC2_METADATA_DISABLED is true.
Result<std::optional<FetchedCredentials>> instance_credentials(const CredentialsContext& context,
                                                               const AwsProfiles& profiles,
                                                               std::string_view profile);

}  // namespace atl::storage
