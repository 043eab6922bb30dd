// Keys in the environment.
#include "storage/s3/credentials_answer.h"
#include "storage/s3/credentials_sources.h"

namespace atl::storage {

bool environment_has_credentials(const CredentialsContext& context) {
  return set_variable(context.variable, "AWS_ACCESS_KEY_ID").has_value();
}

Result<FetchedCredentials> environment_credentials(const CredentialsContext& context) {
  const auto variable = [&](std::string_view name) {
    return set_variable(context.variable, name).value_or("");
  };
  FetchedCredentials fetched{.keys = {.access_key_id = variable("AWS_ACCESS_KEY_ID"),
                                      .secret_access_key = variable("AWS_SECRET_ACCESS_KEY"),
                                      .session_token = variable("AWS_SESSION_TOKEN"),
                                      .expires = {}},
                             .look_again = {}};
  ATOLL_TRY(check_credentials(fetched.keys,
                              "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"));
  return fetched;
}

}  // namespace atl::storage
