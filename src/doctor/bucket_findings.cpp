// What is said of a bucket's credentials and of its server's clock.
#include <fmt/format.h>

#include "base/bytes.h"
#include "doctor/bucket_checks.h"
#include "doctor/machine_checks.h"
#include "storage/s3/s3_headers.h"

namespace atl::doctor {
namespace {

// Roles of machines get new keys five minutes before the end.
constexpr std::chrono::minutes kSoon{6};

}  // namespace

std::string without_hint(const Error& error) {
  return Error{error.code, error.message, "", error.context}.to_string();
}

Finding credentials_finding(const BucketAccess& access,
                            const Result<std::shared_ptr<const storage::Credentials>>& found) {
  if (!found) {
    return {
        id::kCredentials, Severity::kFailure, without_hint(found.error()), "", found.error().hint};
  }
  if (*found == nullptr) {
    return {id::kCredentials,
            Severity::kNote,
            "requests go unsigned (--no-sign-request): public buckets only",
            "",
            ""};
  }
  const storage::Credentials& keys = **found;
  Finding finding{.id = id::kCredentials, .what = "from " + keys.source};
  if (keys.expires) {
    const auto left = *keys.expires - access.now();
    finding.what += left > std::chrono::seconds(0)
                        ? fmt::format(", good for {}", format_duration(left))
                        : std::string(", at their end");
    if (left < kSoon) {
      finding.severity = Severity::kWarning;
      finding.why = "they are asked for again before they end, and their source has no newer ones";
      finding.mend = "aws sts get-caller-identity; then sign in again";
    }
  } else if (!keys.session_token.empty()) {
    finding.severity = Severity::kWarning;
    finding.what += ", temporary";
    finding.why = "nobody renews them: a longer run ends with ExpiredToken";
    finding.mend = "export AWS_PROFILE=NAME of a profile with role_arn or credential_process";
  }
  return finding;
}

Finding server_clock_finding(const BucketAccess& access) {
  storage::HttpRequest request;
  request.method = "HEAD";
  request.url = access.server_url;
  request.connect_timeout = std::chrono::seconds(3);
  request.deadline = std::chrono::seconds(4);
  auto before = access.now();
  auto answer = access.http(request);
  // A kept connection may be closing just then; the next try makes one of its own.
  if (!answer) {
    before = access.now();
    answer = access.http(request);
  }
  const auto after = access.now();
  const auto date = answer ? storage::parse_http_date(answer->header("date")) : std::nullopt;
  if (date) return clock_finding(before, *date, after, access.server);
  return {id::kClock,
          Severity::kNote,
          answer ? fmt::format("{} does not say what time it is", access.server)
                 : without_hint(answer.error()),
          "this clock could be held against no other",
          ""};
}

Check server_clock_check(std::shared_ptr<const BucketAccess> access) {
  Step first{id::kClock, "asking what time it is at " + access->server, Severity::kNote};
  return {std::move(first), [access = std::move(access)](Report& report, const std::stop_token&) {
            report.add(server_clock_finding(*access));
          }};
}

}  // namespace atl::doctor
