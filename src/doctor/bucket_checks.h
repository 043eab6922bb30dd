// Whether a bucket can be used as Atoll uses it: credentials, region, list, ranged get and, where it is written to, put,
// conditional put, uploads in parts and delete, of a probe under the prefix with a name that nothing else has.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "doctor/checks.h"
#include "storage/s3/credentials.h"
#include "storage/s3/s3_client.h"

namespace atl::doctor {

struct BucketAccess {
  std::string uri;  // "s3://bucket/prefix"
  std::string bucket;
  std::string prefix;      // "" or ending in '/'
  std::string server;      // for people: "AWS", "http://127.0.0.1:7480"
  std::string server_url;  // that answers to anything with its Date
  bool is_aws = true;
  bool is_anonymous = false;
  std::string region;  // configured; "" where nothing names one
  std::function<Result<std::shared_ptr<const storage::Credentials>>()> credentials;
  // One request, with its retries. Waits.
  std::function<Result<storage::HttpResponse>(storage::S3Request request, std::stop_token stop)>
      perform;
  // The region in which the last request was answered.
  std::function<std::string()> region_found;
  storage::HttpPerform http;  // unsigned, once
  std::function<std::chrono::system_clock::time_point()> now;
};

// As the environment says. kInvalidInput for a URI, a profile or an endpoint that is none. Asks nothing yet.
Result<std::shared_ptr<const BucketAccess>> open_bucket_access(std::string_view uri);

struct BucketUse {
  bool writes = false;
  bool has_data = false;   // what is to be read should be there already
  std::string probe_name;  // of the keys that are made and removed again
};
// ".atoll-tmp-doctor-HOST-PID-TIME": what nobody else makes.
std::string make_probe_name(std::string_view host,
                            int64_t process,
                            std::chrono::system_clock::time_point now);

// The credentials are looked at by the first of these checks only, where several buckets are asked as the same user.
Check bucket_check(std::shared_ptr<const BucketAccess> access,
                   BucketUse use,
                   bool with_credentials);

void check_bucket(const BucketAccess& access,
                  const BucketUse& use,
                  bool with_credentials,
                  Report& report,
                  const std::stop_token& stop);

// One statement of an IAM policy, as one line of JSON. `actions`: one, or several between commas.
std::string allow_statement(std::string_view actions, std::string_view resource);

// --- bucket_findings.cpp ---

// This clock against the server's; any answer of it will do, also a refusal.
Check server_clock_check(std::shared_ptr<const BucketAccess> access);
Finding server_clock_finding(const BucketAccess& access);
// An error as a finding says it: its hint is the finding's mend.
std::string without_hint(const Error& error);
Finding credentials_finding(const BucketAccess& access,
                            const Result<std::shared_ptr<const storage::Credentials>>& found);

}  // namespace atl::doctor
