// Everything that credentials may look at, for tests: no variables, nobody answers, and the clock stands.
#pragma once

#include <string>
#include <vector>

#include "storage/s3/credentials.h"
#include "storage/s3/fake_environment.h"
#include "storage/s3/fake_http.h"
#include "storage/s3/timestamps.h"

namespace atl::storage {

struct FakeCredentialsContext {
  FakeEnvironment environment;
  FakeHttp http;
  std::chrono::system_clock::time_point now = parse_rfc3339("2026-06-01T12:00:00Z").value();
  std::vector<std::chrono::milliseconds> pauses;

  // Must not outlive this.
  CredentialsContext context() {
    CredentialsContext context;
    context.variable = environment.variable();
    context.http = http.perform();
    context.now = [this] { return now; };
    context.pause = [this](std::chrono::milliseconds pause) { pauses.push_back(pause); };
    return context;
  }

  // STS's answer, with keys that end an hour from `now`.
  static std::string sts_answer(const std::string& action, const std::string& key) {
    return "<" + action + "Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><" +
           action + "Result><Credentials><AccessKeyId>" + key +
           "</AccessKeyId><SecretAccessKey>SECRET-" + key +
           "</SecretAccessKey><SessionToken>TOKEN-" + key +
           "</SessionToken><Expiration>2026-06-01T13:00:00Z</Expiration></Credentials></" + action +
           "Result></" + action + "Response>";
  }
  // An endpoint's.
  static std::string endpoint_answer(const std::string& key,
                                     const std::string& expiration = "2026-06-01T18:00:00Z") {
    return R"({"Code":"Success","AccessKeyId":")" + key + R"(","SecretAccessKey":"SECRET-)" + key +
           R"(","Token":"TOKEN-)" + key + R"(","Expiration":")" + expiration + R"("})";
  }
};

}  // namespace atl::storage
