// How fast does S3Remote read, beside bare libcurl with as many requests under way?
//
//   s3_throughput OBJECT_MIB CONCURRENCY RANGE_MIB ROUNDS [BUFFER_KIB]
//
// with AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
//
// Makes a bucket with one object, then reads it in ranges, round by round with each reader in turn: ours,
// libcurl's multi interface that throws the bytes away (which a program cannot do), and the same with each
// range received into memory of its own. One JSON line with the medians, in MiB/s.
#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/check.h"
#include "storage/s3/credentials.h"
#include "storage/s3/s3_remote.h"
#include "storage/s3/signer.h"

namespace atl::storage {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr const char* kKey = "bench/object";

struct Settings {
  std::string endpoint_url;
  std::string bucket;
  Credentials credentials;
  uint64_t object_bytes = 0;
  int concurrency = 0;
  uint64_t range_bytes = 0;
  size_t buffer_bytes = HttpEngineOptions{}.receive_buffer_bytes;  // of both
};

class FixedCredentials : public CredentialsProvider {
 public:
  explicit FixedCredentials(Credentials credentials)
      : credentials_(std::make_shared<const Credentials>(std::move(credentials))) {}
  Result<std::shared_ptr<const Credentials>> get() override { return credentials_; }

 private:
  std::shared_ptr<const Credentials> credentials_;
};

template <typename T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  std::cerr << result.error().to_string() << "\n";
  std::exit(1);
}

std::shared_ptr<S3Client> make_client(const Settings& settings) {
  return S3Client::make(
      must(S3Endpoint::make(settings.bucket, settings.endpoint_url, std::nullopt)),
      {},
      must(HttpEngine::make()),
      std::make_shared<FixedCredentials>(settings.credentials));
}

// ---- ours ---------------------------------------------------------------------------------------

// Like libcurl's loop: where one range ends, the next begins, on the I/O thread.
class RemoteReader {
 public:
  RemoteReader(const Settings& settings, Remote& remote, std::string etag)
      : settings_(settings), remote_(remote), etag_(std::move(etag)) {}

  void read() {
    offset_ = 0;
    received_ = 0;
    for (int i = 0; i < settings_.concurrency; ++i) begin_next();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return received_ == settings_.object_bytes; });
  }

 private:
  void begin_next() {
    const uint64_t offset = offset_.fetch_add(settings_.range_bytes);
    if (offset >= settings_.object_bytes) return;
    remote_.read_async({kKey, offset, settings_.range_bytes, etag_},
                       [this](Result<RangeBytes> result) {
                         const uint64_t bytes = must(std::move(result)).bytes.size();
                         begin_next();
                         const std::lock_guard lock(mutex_);
                         received_ += bytes;
                         if (received_ == settings_.object_bytes) changed_.notify_one();
                       });
  }

  const Settings& settings_;
  Remote& remote_;
  const std::string etag_;
  std::atomic<uint64_t> offset_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t received_ = 0;
};

// ---- bare libcurl -------------------------------------------------------------------------------

class CurlReader {
 public:
  CurlReader(const Settings& settings, bool keeps_bytes)
      : settings_(settings), keeps_(keeps_bytes) {
    multi_ = curl_multi_init();
    for (int i = 0; i < settings.concurrency; ++i) {
      slots_.push_back(std::make_unique<Slot>());
      slots_.back()->easy = curl_easy_init();
      if (keeps_) slots_.back()->memory.resize(settings.range_bytes);
    }
  }
  CurlReader(const CurlReader&) = delete;
  CurlReader& operator=(const CurlReader&) = delete;
  ~CurlReader() {
    for (auto& slot : slots_) {
      curl_easy_cleanup(slot->easy);
      curl_slist_free_all(slot->headers);
    }
    curl_multi_cleanup(multi_);
  }

  void read() {
    uint64_t offset = 0;
    uint64_t received = 0;
    for (auto& slot : slots_) {
      if (offset < settings_.object_bytes) begin(*slot, offset);
    }
    int running = 1;
    while (received < settings_.object_bytes) {
      curl_multi_perform(multi_, &running);
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
        Slot* slot = nullptr;
        long status = 0;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        ATOLL_CHECK(message->data.result == CURLE_OK && status == 206) << status;
        received += slot->received;
        curl_multi_remove_handle(multi_, slot->easy);
        if (offset < settings_.object_bytes) begin(*slot, offset);
      }
      if (received < settings_.object_bytes) curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
    }
  }

 private:
  struct Slot {
    CURL* easy = nullptr;
    curl_slist* headers = nullptr;
    std::vector<char> memory;
    uint64_t received = 0;
  };

  void begin(Slot& slot, uint64_t& offset) {
    UnsignedRequest request =
        must(S3Endpoint::make(settings_.bucket, settings_.endpoint_url, std::nullopt))
            .request(kKey, "us-east-1");
    request.headers = {
        {"Range", fmt::format("bytes={}-{}", offset, offset + settings_.range_bytes - 1)}};
    const auto ready = sign(
        request, &settings_.credentials, {"us-east-1", "s3"}, std::chrono::system_clock::now());
    curl_slist_free_all(slot.headers);
    slot.headers = nullptr;
    for (const HttpHeader& header : ready.headers) {
      slot.headers = curl_slist_append(slot.headers, (header.name + ": " + header.value).c_str());
    }
    slot.received = 0;
    curl_easy_setopt(slot.easy, CURLOPT_URL, ready.url.c_str());
    curl_easy_setopt(slot.easy, CURLOPT_HTTPHEADER, slot.headers);
    curl_easy_setopt(slot.easy, CURLOPT_PRIVATE, &slot);
    curl_easy_setopt(slot.easy, CURLOPT_WRITEDATA, &slot);
    curl_easy_setopt(slot.easy, CURLOPT_WRITEFUNCTION, keeps_ ? &keep : &discard);
    curl_easy_setopt(slot.easy, CURLOPT_BUFFERSIZE, static_cast<long>(settings_.buffer_bytes));
    curl_multi_add_handle(multi_, slot.easy);
    offset += settings_.range_bytes;
  }
  static size_t discard(char*, size_t size, size_t count, void* slot) {
    static_cast<Slot*>(slot)->received += size * count;
    return size * count;
  }
  static size_t keep(char* bytes, size_t size, size_t count, void* pointer) {
    auto& slot = *static_cast<Slot*>(pointer);
    std::memcpy(slot.memory.data() + slot.received, bytes, size * count);
    slot.received += size * count;
    return size * count;
  }

  const Settings& settings_;
  const bool keeps_;
  CURLM* multi_ = nullptr;
  std::vector<std::unique_ptr<Slot>> slots_;
};

// ---- the comparison -----------------------------------------------------------------------------

struct Measured {
  std::vector<double> mib_s;
  std::vector<double>
      cpu_us_per_mib;  // of this process: what other load on the machine does not change much
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <typename Reader>
void measure(const Settings& settings, Reader& reader, Measured& measured) {
  const auto start = Clock::now();
  const double cpu_start = cpu_seconds();
  reader.read();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const double mib = static_cast<double>(settings.object_bytes) / static_cast<double>(kMiB);
  measured.mib_s.push_back(mib / seconds);
  measured.cpu_us_per_mib.push_back((cpu_seconds() - cpu_start) * 1e6 / mib);
}

// Without the first round, which warms the server and the connections.
double median(const std::vector<double>& values) {
  std::vector<double> counted(values.begin() + 1, values.end());
  std::sort(counted.begin(), counted.end());
  return counted[counted.size() / 2];
}

nlohmann::json to_json(const Measured& measured) {
  return {{"mib_s", std::round(median(measured.mib_s))},
          {"cpu_us_per_mib", std::round(median(measured.cpu_us_per_mib))}};
}

ObjectInfo make_object(const Settings& settings, S3Client& client, Remote& remote) {
  S3Request make_bucket;
  make_bucket.method = "PUT";
  must(client.perform(make_bucket).response);
  UploadSource source;
  source.size_bytes = settings.object_bytes;
  source.read = [](uint64_t offset, uint64_t size) -> Result<Blob> {
    return Blob(std::vector<std::byte>(size, static_cast<std::byte>(offset >> 20)));
  };
  return must(remote.upload(kKey, source, {}));
}

int run(int count, char** arguments) {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    if (value == nullptr) std::cerr << name << " is not set\n";
    return std::string(value == nullptr ? "" : value);
  };
  Settings settings;
  settings.endpoint_url = variable("AWS_ENDPOINT_URL");
  settings.credentials.access_key_id = variable("AWS_ACCESS_KEY_ID");
  settings.credentials.secret_access_key = variable("AWS_SECRET_ACCESS_KEY");
  if (count < 5 || count > 6 || settings.endpoint_url.empty()) {
    std::cerr << "usage: s3_throughput OBJECT_MIB CONCURRENCY RANGE_MIB ROUNDS [BUFFER_KIB]\n";
    return 2;
  }
  settings.bucket = "bench-throughput";
  settings.object_bytes = std::strtoull(arguments[1], nullptr, 10) * kMiB;
  settings.concurrency = std::atoi(arguments[2]);
  settings.range_bytes = std::strtoull(arguments[3], nullptr, 10) * kMiB;
  const int rounds = std::atoi(arguments[4]);
  if (count == 6) settings.buffer_bytes = std::strtoull(arguments[5], nullptr, 10) << 10;

  const auto client = make_client(settings);
  const auto remote = make_s3_remote(client, "");
  const ObjectInfo object = make_object(settings, *client, *remote);
  RemoteReader remote_reader(settings, *remote, object.etag);
  CurlReader discarding_reader(settings, false);
  CurlReader keeping_reader(settings, true);
  Measured ours;
  Measured discarding;
  Measured keeping;
  for (int round = 0; round <= rounds; ++round) {
    measure(settings, discarding_reader, discarding);
    measure(settings, remote_reader, ours);
    measure(settings, keeping_reader, keeping);
  }
  const std::vector<std::string> keys = {kKey};
  if (!remote->remove(keys)) return 1;
  std::cout << nlohmann::json{{"bench", "s3_throughput"},
                              {"object_mib", settings.object_bytes / kMiB},
                              {"concurrency", settings.concurrency},
                              {"range_mib", settings.range_bytes / kMiB},
                              {"atoll", to_json(ours)},
                              {"libcurl_discarding", to_json(discarding)},
                              {"libcurl_keeping", to_json(keeping)},
                              {"ratio_to_discarding",
                               median(ours.mib_s) / median(discarding.mib_s)},
                              {"ratio_to_keeping", median(ours.mib_s) / median(keeping.mib_s)}}
            << "\n";
  return 0;
}

}  // namespace
}  // namespace atl::storage

int main(int count, char** arguments) { return atl::storage::run(count, arguments); }
