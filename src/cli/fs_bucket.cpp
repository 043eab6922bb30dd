#include "cli/fs_bucket.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "storage/local_store.h"
#include "storage/sha256.h"

namespace atl::cli {
namespace {

constexpr size_t kNameHash_digits = 16;
constexpr mode_t kPrivate = 0700;

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void set(const char* name, const std::string& value) {
  if (!value.empty()) ::setenv(name, value.c_str(), 1);
}

void make_absolute(const char* name) {
  const std::string path = environment(name);
  if (!path.empty()) set(name, std::filesystem::absolute(path).lexically_normal().string());
}

Result<std::string> state_root() {
  if (const auto state = environment("XDG_STATE_HOME"); state.starts_with('/')) {
    return state + "/atoll";
  }
  if (::geteuid() == 0) return "/var/lib/atoll";
  if (const auto home = environment("HOME"); home.starts_with('/')) {
    return home + "/.local/state/atoll";
  }
  return fail(ErrorCode::kInvalidInput,
              "there is no place for the journal: HOME is not set",
              "name a directory with --state");
}

}  // namespace

void tell_environment(const fs::MountSettings& settings) {
  set("AWS_ENDPOINT_URL_S3", settings.endpoint_url);
  set("AWS_REGION", settings.region);
  set("ATOLL_CACHE_DIR", settings.cache_directory);
  if (settings.cache_bytes) set("ATOLL_CACHE_SIZE", fmt::format("{}", *settings.cache_bytes));
  set("ATOLL_LISTING_AGE", fmt::format("{}", settings.max_age.count()));
  if (settings.no_sign_request) set("ATOLL_NO_SIGN_REQUEST", "1");
  if (!settings.profile.empty()) {  // goes before keys that are in the environment
    set("AWS_PROFILE", settings.profile);
    for (const char* key : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}) {
      ::unsetenv(key);
    }
  }
  // At boot root has no home.
  const bool homeless = environment("HOME").empty() && environment("XDG_CACHE_HOME").empty() &&
                        environment("ATOLL_CACHE_DIR").empty();
  if (homeless && ::geteuid() == 0) set("ATOLL_CACHE_DIR", "/var/cache/atoll");
  for (const char* name : {"ATOLL_CACHE_DIR",
                           "AWS_CONFIG_FILE",
                           "AWS_SHARED_CREDENTIALS_FILE",
                           "AWS_WEB_IDENTITY_TOKEN_FILE",
                           "AWS_CA_BUNDLE",
                           "CURL_CA_BUNDLE",
                           "SSL_CERT_FILE"}) {
    make_absolute(name);
  }
}

Result<storage::Bucket> open_bucket(const std::string& uri, storage::BucketOptions options) {
  std::string_view trimmed = uri;
  while (trimmed.ends_with('/')) trimmed.remove_suffix(1);
  return storage::open_bucket(trimmed, options);
}

Result<std::string> state_directory(const storage::Bucket& bucket,
                                    const fs::MountSettings& settings) {
  if (!settings.state_directory.empty()) return settings.state_directory;
  // The bucket's name for people, the hash for what tells it from all others.
  const std::string uri = bucket.remote->uri();
  const std::string name = uri.substr(uri.find("//") + 2);
  const std::string hash = storage::sha256_hex(bucket.remote->identity() + "\n" + uri);
  const std::string root = ATOLL_TRY(state_root());
  return fmt::format(
      "{}/fs/{}-{}", root, name.substr(0, name.find('/')), hash.substr(0, kNameHash_digits));
}

Result<void> make_private_directory(const std::string& directory) {
  const std::filesystem::path parent = std::filesystem::path(directory).parent_path();
  ATOLL_TRY(storage::make_directories(parent.string()));
  if (::mkdir(directory.c_str(), kPrivate) != 0 && errno != EEXIST) {
    return fail_errno(fmt::format("making {}", directory), errno);
  }
  struct stat status {};
  if (::lstat(directory.c_str(), &status) != 0) return fail_errno(directory, errno);
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid()) {
    return fail(ErrorCode::kPermission,
                fmt::format("{} is not a directory of this user", directory),
                "name another one with --state");
  }
  if (::chmod(directory.c_str(), kPrivate) != 0) return fail_errno(directory, errno);
  return {};
}

Result<std::unique_ptr<fs::FileLayer>> open_layer(const storage::Bucket& bucket,
                                                  const std::string& state_directory,
                                                  const fs::MountSettings& settings,
                                                  std::function<void(std::string_view)> log) {
  ATOLL_TRY(make_private_directory(state_directory));
  fs::FileLayerOptions options;
  options.directory = state_directory;
  options.read_only = settings.read_only;
  options.uid = settings.uid.value_or(0);
  options.gid = settings.gid.value_or(0);
  options.umask = settings.umask;
  options.exports = settings.exports;
  options.conflicts = settings.conflicts;
  options.fsync_to_bucket = settings.fsync_to_bucket;
  options.imports = settings.imports;
  options.import_interval = settings.import_interval;
  options.posix_metadata = settings.metadata;
  options.log = std::move(log);
  return fs::FileLayer::open(bucket.remote, bucket.names, bucket.cache, std::move(options));
}

}  // namespace atl::cli
