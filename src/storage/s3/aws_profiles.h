// The shared files of AWS's programs, ~/.aws/config and ~/.aws/credentials: which profiles there are and
// what they say.
//
// Source: "Configuration and credential file settings in the AWS CLI" and "Shared config and credentials
// files" of the AWS SDKs and Tools reference guide. What the parser takes:
//   [default], [profile NAME] ("NAME" may be quoted), [services NAME]     in config
//   [NAME]                                                               in credentials
//   name = value            the name's case does not count; " #" and " ;" begin a comment
//     child = value         indented, below a name without a value: "name.child"
//     more                  indented, below a name with a value: one more line of it
// Other sections are read over. Sections of one name are one, the later value counts.
//
// Values may be secrets: no message shows one, only file and line.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace atl::storage {

// A variable of the environment; nullopt where it is not set.
using EnvironmentVariable = std::function<std::optional<std::string>(std::string_view name)>;
// nullopt also where it is empty, as AWS's programs see it.
std::optional<std::string> set_variable(const EnvironmentVariable& variable, std::string_view name);

using ProfileProperties = std::map<std::string, std::string, std::less<>>;

struct AwsProfiles {
  std::map<std::string, ProfileProperties, std::less<>> profiles;
  std::map<std::string, ProfileProperties, std::less<>> services;

  bool has(std::string_view profile) const { return profiles.contains(profile); }
  // "" where the profile or the property is not there.
  std::string_view value(std::string_view profile, std::string_view property) const;
};

enum class ProfileFile { kConfig, kCredentials };

// `name` is the file's, for messages. kInvalidInput.
Result<AwsProfiles> parse_profiles(std::string_view text, ProfileFile kind, std::string_view name);

// Both files, from where AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE or HOME say that they are; one that
// is not there is empty. Where both have a profile, credentials counts.
Result<AwsProfiles> load_profiles(const EnvironmentVariable& variable);

// The profile to use: `wanted`, else AWS_PROFILE, else AWS_DEFAULT_PROFILE, else "default". kInvalidInput where one is
// named that no file has.
Result<std::string> choose_profile(const AwsProfiles& profiles,
                                   const EnvironmentVariable& variable,
                                   std::string_view wanted);

}  // namespace atl::storage
