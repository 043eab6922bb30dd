#include "cli/bucket_options.h"

#include <cstdlib>
#include <functional>
#include <string>

#include "base/bytes.h"

namespace atl::cli {
namespace {

constexpr const char* kGroup =
    "Buckets (s3://BUCKET/PREFIX instead of any DIR, s3://BUCKET/KEY of any FILE)";

void set_variable(const char* name, const std::string& value) {
  ::setenv(name, value.c_str(), /*overwrite=*/1);
}

// As with the AWS command line: a profile that is named goes before keys that are in the environment.
void choose_profile(const std::string& profile) {
  set_variable("AWS_PROFILE", profile);
  for (const char* key : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}) {
    ::unsetenv(key);
  }
}

CLI::Validator byte_count() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        const auto bytes = parse_bytes(text);
        return bytes ? "" : bytes.error().to_string();
      },
      "");
}

// All services of AWS are asked there, also those that have a variable of their own.
void set_endpoint_of_all(const std::string& url) {
  set_variable("AWS_ENDPOINT_URL", url);
  for (const char* service : {"S3", "STS", "SAGEMAKER", "CLOUDWATCH_LOGS", "EC2", "FSX", "IAM"}) {
    ::unsetenv((std::string("AWS_ENDPOINT_URL_") + service).c_str());
  }
}

bool speaks_to_services(const CLI::App& command) {
  const CLI::App* const parent = command.get_parent();
  return parent != nullptr && parent->get_name() == "job";
}

void add_to(CLI::App& command) {
  const auto variable =
      [&](const char* option, const char* name, const char* type, const char* text) {
        return command
            .add_option_function<std::string>(
                option, [name](const std::string& value) { set_variable(name, value); }, text)
            ->type_name(type)
            ->group(kGroup);
      };
  const bool services = speaks_to_services(command);
  if (services) {
    command
        .add_option_function<std::string>(
            "--endpoint-url", set_endpoint_of_all, "Server that is not AWS's own, of all services")
        ->type_name("URL")
        ->group(kGroup);
  } else {
    variable("--endpoint-url", "AWS_ENDPOINT_URL_S3", "URL", "Server that is not AWS's own");
  }
  variable("--region", "AWS_REGION", "NAME", services ? "Region" : "Region of the bucket");
  command.add_option_function<std::string>("--profile", choose_profile, "Profile of ~/.aws/config")
      ->type_name("NAME")
      ->group(kGroup);
  command
      .add_flag_function(
          "--no-sign-request",
          [](int64_t) { set_variable("ATOLL_NO_SIGN_REQUEST", "1"); },
          "Public bucket: no credentials are looked for")
      ->group(kGroup);
  variable(
      "--cache-dir", "ATOLL_CACHE_DIR", "DIR", "Where what was read is kept [~/.cache/atoll/s3]");
  variable("--cache-size", "ATOLL_CACHE_SIZE", "BYTES", "Bound of the cache [100GiB]")
      ->check(byte_count());
}

}  // namespace

void add_bucket_options(CLI::App& app) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  for (CLI::App* command : commands) add_bucket_options(*command);
  if (commands.empty() && app.get_parent() != nullptr) add_to(app);
}

}  // namespace atl::cli
