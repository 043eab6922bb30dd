// The order in which credentials are looked for.
#include "storage/s3/credentials.h"

#include <fmt/format.h>

#include "storage/s3/credentials_sources.h"
#include "storage/s3/refreshing_credentials.h"

namespace atl::storage {
namespace {

// Finds the source once: later, when its file is being rewritten or its service is down, another one
// with other rights would be no help.
class CredentialsChain {
 public:
  explicit CredentialsChain(CredentialsContext context) : context_(std::move(context)) {}

  Result<FetchedCredentials> fetch() {
    if (found_ == Source::kNone) return find();
    return fetch_from(found_);
  }

 private:
  enum class Source { kNone, kEnvironment, kWebIdentity, kProfile, kContainer, kInstance };

  Result<FetchedCredentials> find() {
    const Source source = ATOLL_TRY(configured());
    FetchedCredentials fetched = ATOLL_TRY(fetch_from(source));
    found_ = source;
    return fetched;
  }

  Result<Source> configured() const {
    if (context_.profile.empty()) {
      if (environment_has_credentials(context_)) return Source::kEnvironment;
      if (environment_has_web_identity(context_)) return Source::kWebIdentity;
    }
    const AwsProfiles profiles = ATOLL_TRY(load_profiles(context_.variable));
    const std::string profile =
        ATOLL_TRY(choose_profile(profiles, context_.variable, context_.profile));
    if (profile_has_credentials(profiles, profile)) return Source::kProfile;
    return container_has_credentials(context_) ? Source::kContainer : Source::kInstance;
  }

  Result<FetchedCredentials> fetch_from(Source source) const {
    switch (source) {
      case Source::kEnvironment:
        return named(environment_credentials(context_), "the environment");
      case Source::kWebIdentity:
        return named(environment_web_identity(context_), "the environment's web identity");
      case Source::kContainer:
        return named(container_credentials(context_), "the container's endpoint");
      default:
        break;
    }
    const AwsProfiles profiles = ATOLL_TRY(load_profiles(context_.variable));
    const std::string profile =
        ATOLL_TRY(choose_profile(profiles, context_.variable, context_.profile));
    if (source == Source::kProfile) {
      return named(profile_credentials(context_, profiles, profile),
                   fmt::format("profile '{}'", profile));
    }
    auto instance = ATOLL_TRY(instance_credentials(context_, profiles, profile));
    if (instance) return named(*std::move(instance), "the role of this EC2 instance");
    return fail(ErrorCode::kPermission,
                fmt::format("there are no AWS credentials: none in the environment, in profile "
                            "'{}', from a container or an EC2 instance",
                            profile),
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; a public bucket "
                "can be read anonymously");
  }

  static Result<FetchedCredentials> named(Result<FetchedCredentials> fetched, std::string source) {
    if (fetched) fetched->keys.source = std::move(source);
    return fetched;
  }

  const CredentialsContext context_;
  Source found_ = Source::kNone;
};

class AnonymousCredentials : public CredentialsProvider {
 public:
  Result<std::shared_ptr<const Credentials>> get() override { return nullptr; }
};

}  // namespace

std::shared_ptr<CredentialsProvider> find_credentials(CredentialsContext context) {
  if (context.anonymous) return std::make_shared<AnonymousCredentials>();
  auto clock = context.now;
  const auto chain = std::make_shared<CredentialsChain>(std::move(context));
  return std::make_shared<RefreshingCredentials>([chain] { return chain->fetch(); },
                                                 std::move(clock));
}

}  // namespace atl::storage
