// Requests to those who hand out credentials: few, small, and worth a second attempt.
#pragma once

#include <string_view>

#include "storage/s3/credentials.h"
#include "storage/s3/http.h"

namespace atl::storage {

// Up to three attempts, where no whole answer comes or it is a 429 or 5xx; the last answer otherwise. `source`
// begins the error's context.
Result<HttpResponse> request_credentials(const CredentialsContext& context,
                                         const HttpRequest& request,
                                         std::string_view source);

// Answers worth another attempt by their status alone.
bool is_passing_status(int status);

}  // namespace atl::storage
