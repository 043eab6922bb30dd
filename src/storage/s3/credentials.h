// Who we are towards AWS, and where that is found out.
//
// Never printed: Credentials has no way to text, and no message holds a part of one.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "storage/s3/http.h"

namespace atl::storage {

struct Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // "" for long-term keys
  std::optional<std::chrono::system_clock::time_point> expires;
  std::string source;  // for people: "the environment", "profile 'dev'"
};

// Thread safe.
class CredentialsProvider {
 public:
  virtual ~CredentialsProvider() = default;
  // Credentials that are good for a minute yet, where their source gives such; null: requests go unsigned
  // (public buckets). Waits for the network only where there are none that hold: before they end, new ones
  // are fetched in the background, and what is there serves on. kPermission, kInvalidInput or kIo where
  // there should be some and none can be had.
  virtual Result<std::shared_ptr<const Credentials>> get() = 0;
  // A server took these for expired: get() finds others, if there are any.
  virtual void refused(const Credentials& /*credentials*/) {}
};

// What the providers may look at besides files and the network.
struct CredentialsContext {
  // A variable of the environment; nullopt where it is not set.
  std::function<std::optional<std::string>(std::string_view name)> variable;
  HttpPerform http;
  std::function<std::chrono::system_clock::time_point()> now;
  std::string profile;     // overrides AWS_PROFILE where not empty
  std::string region;      // for STS
  bool anonymous = false;  // do not look
  // Waits before another attempt; empty: sleeps. For tests.
  std::function<void(std::chrono::milliseconds)> pause;
};

// In the order of AWS's own programs: environment, web identity, profile (static keys, role_arn with
// source_profile or credential_source, web_identity_token_file, credential_process; SSO is refused with
// a message), container endpoint (ECS, EKS pod identity), IMDSv2. The first that is configured is
// taken; its failure is an error, not a reason to go on. The instance endpoint counts as configured
// where it answers within a second. A `profile` in the context goes before the environment's keys and
// web identity, which speak for AWS_PROFILE's place only. Nothing is looked at before the first get().
std::shared_ptr<CredentialsProvider> find_credentials(CredentialsContext context);

}  // namespace atl::storage
