#include "storage/open_s3.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <map>
#include <mutex>
#include <string>

#include "storage/cache/cached_store.h"
#include "storage/key.h"
#include "storage/s3/aws_config.h"
#include "storage/s3/http_engine.h"
#include "storage/s3/s3_remote.h"

namespace atl::storage {
namespace {

constexpr std::string_view kScheme = "s3://";

// What the buckets of a process share. Mutable and of the whole process, against the rule, because
// open_store() is called in many places that know nothing of each other (each split, the output, the
// weights), and a connection pool, a bound in bytes and a look-up for each would be several times as
// many. It keeps nothing alive: what nobody uses any more is gone.
struct Shared {
  std::mutex mutex;
  pid_t process = 0;  // after a fork the threads of all of it are missing
  std::weak_ptr<HttpEngine> engine;
  std::map<std::string, std::weak_ptr<BlockCache>> caches;
  std::map<std::string, std::weak_ptr<Remote>> remotes;
  std::map<std::string, std::weak_ptr<Namespace>> names;
};

Shared& shared() {
  static Shared shared;
  return shared;
}

// What was opened before a fork, in the child; the mutex is held.
void forget_before_fork(Shared& all) {
  if (all.process == ::getpid()) return;
  all.engine.reset();
  all.caches.clear();
  all.remotes.clear();
  all.names.clear();
  all.process = ::getpid();
}

// What `found` still holds, or what `make` gives.
template <typename T, typename Make>
Result<std::shared_ptr<T>> share(std::weak_ptr<T>& found, const Make& make) {
  if (auto there = found.lock()) return there;
  std::shared_ptr<T> made = ATOLL_TRY(make());
  found = made;
  return made;
}

void remove_last_slashes(std::string_view& uri) {
  while (uri.size() > kScheme.size() && uri.ends_with('/')) uri.remove_suffix(1);
}

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

Result<std::shared_ptr<HttpEngine>> shared_engine(Shared& all, const AwsConfig& config) {
  return share(all.engine, [&] { return HttpEngine::make({.ca_bundle = config.ca_bundle}); });
}

bool is_anonymous() { return environment_variable("ATOLL_NO_SIGN_REQUEST") == "1"; }

Result<std::shared_ptr<Remote>> make_remote(std::string_view uri,
                                            Shared& all,
                                            std::chrono::milliseconds patience = {}) {
  const AwsConfig config = ATOLL_TRY(read_aws_config(environment_variable));
  auto engine = ATOLL_TRY(shared_engine(all, config));
  S3RemoteOptions options;
  options.variable = environment_variable;
  options.anonymous = is_anonymous();
  options.patience = patience;
  return open_s3_remote(uri, std::move(options), std::move(engine));
}

}  // namespace

bool is_s3_uri(std::string_view uri) { return uri.starts_with(kScheme); }

Result<std::shared_ptr<Remote>> open_remote(std::string_view uri) {
  remove_last_slashes(uri);
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  forget_before_fork(all);
  return share(all.remotes[std::string(uri)], [&] { return make_remote(uri, all); });
}

Result<std::shared_ptr<Remote>> open_impatient_remote(std::string_view uri,
                                                      std::chrono::milliseconds patience) {
  remove_last_slashes(uri);
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  forget_before_fork(all);
  return make_remote(uri, all, patience);
}

Result<Bucket> open_bucket(std::string_view uri, BucketOptions options) {
  Bucket bucket;
  bucket.settings = ATOLL_TRY(read_cache_settings(environment_variable));
  const std::string& directory = bucket.settings.directory;
  Shared& all = shared();
  const std::lock_guard lock(all.mutex);
  forget_before_fork(all);
  bucket.remote =
      ATOLL_TRY(share(all.remotes[std::string(uri)], [&] { return make_remote(uri, all); }));
  bucket.cache = ATOLL_TRY(share(all.caches[directory], [&] {
    return BlockCache::open({.directory = directory,
                             .max_bytes = bucket.settings.max_bytes,
                             .direct_read_ahead = options.direct_read_ahead});
  }));
  // SQLite's locks and shared memory reach no further than one machine; the cache's directory may be many's.
  const std::string names = fmt::format("{}/names/{}", directory, host_name());
  bucket.names = ATOLL_TRY(share(all.names[directory + bucket.remote->identity()], [&] {
    return Namespace::open(bucket.remote,
                           {.directory = names, .max_age = bucket.settings.listing_age});
  }));
  return bucket;
}

Result<std::unique_ptr<SqsEvents>> hear_events(std::string_view uri,
                                               std::shared_ptr<Namespace> names,
                                               std::string queue_url,
                                               std::function<void(std::string_view line)> log) {
  const S3Location location = ATOLL_TRY(parse_s3_uri(uri));
  const AwsConfig config = ATOLL_TRY(read_aws_config(environment_variable));
  std::shared_ptr<HttpEngine> engine;
  {
    Shared& all = shared();
    const std::lock_guard lock(all.mutex);
    forget_before_fork(all);
    engine = ATOLL_TRY(shared_engine(all, config));
  }
  CredentialsContext context;
  context.variable = environment_variable;
  context.http = [engine](const HttpRequest& request) { return engine->perform(request); };
  context.now = [] { return std::chrono::system_clock::now(); };
  context.region = config.region;
  context.anonymous = is_anonymous();
  SqsOptions options;
  options.queue_url = std::move(queue_url);
  options.region = config.region;
  options.bucket = location.bucket;
  options.prefix = location.prefix;
  options.log = std::move(log);
  auto http = context.http;
  auto events = ATOLL_TRY(SqsEvents::open(
      std::move(names), std::move(http), find_credentials(std::move(context)), std::move(options)));
  events->start();
  return events;
}

Result<std::unique_ptr<ObjectStore>> open_s3_store(std::string_view uri) {
  remove_last_slashes(uri);
  Bucket bucket = ATOLL_TRY(open_bucket(uri));
  CachedStoreOptions options;
  options.listing_age = bucket.settings.listing_age;
  return make_cached_store(
      std::move(bucket.remote), std::move(bucket.names), std::move(bucket.cache), options);
}

Result<Location> open_s3_location(std::string_view uri) {
  const size_t slash = uri.rfind('/');
  std::string key(uri.substr(slash + 1));
  if (slash < kScheme.size() || key.empty()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} names no object", uri),
                "name a file: s3://BUCKET/PREFIX/FILE");
  }
  ATOLL_TRY(check_key(key));
  auto store = ATOLL_TRY(open_s3_store(uri.substr(0, slash)));
  // A file that is named by itself is meant as it is now; whether it is there shows when it is read.
  (void)store->head(key);
  return Location{std::move(store), std::move(key)};
}

}  // namespace atl::storage
