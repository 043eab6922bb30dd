// S3 by bare libcurl: the yardstick of bench/storage.py, and what fills its buckets. One multi handle in one thread,
// presigned URLs, no retries, nothing checked but the status.
//
//   s3_raw make BUCKET
//   s3_raw fill BUCKET PREFIX COUNT BYTES [FOLDERS]      objects of pseudo-random bytes, PREFIX/000/000000.bin
//   s3_raw copy BUCKET PREFIX COUNT FILE...              the files again and again, PREFIX/000000.SUFFIX
//   s3_raw put BUCKET KEY FILE
//   s3_raw get BUCKET KEY RANGE_BYTES CONNECTIONS SIZE [FILE]   the object, SIZE bytes long, in ranges; into the file
//   s3_raw list BUCKET PREFIX                            page by page
//   s3_raw keys BUCKET PREFIX                            their names
//   s3_raw fetch BUCKET PREFIX FOLDER                    every object below it, as FOLDER/0, …, named in FOLDER/keys.json
//   s3_raw remove BUCKET PREFIX                          every object below it
//
// Where and who: AWS_ENDPOINT_URL (http), AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION. One line of JSON:
// seconds, bytes, requests, and for `list` the keys.
#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/keyed_random.h"
#include "base/unique_fd.h"
#include "storage/s3/signer.h"

namespace atl {
namespace {

using Query = std::vector<std::pair<std::string, std::string>>;

[[noreturn]] void stop(const std::string& message) {
  std::cerr << "s3_raw: " << message << "\n";
  std::exit(1);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) stop(fmt::format("{} is not set", name));
  return value;
}

struct Request {
  std::string method = "GET";
  std::string path;  // "/bucket/key"
  Query query;
  std::string range;  // "0-99"
  std::string_view body;
};

// One easy handle, used again and again.
struct Slot {
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  std::vector<char> buffer;  // what has come, as far as there is room; else it is only counted
  size_t bytes = 0;
  std::string text;  // of a listing
  bool keep_text = false;
  std::string_view left;  // to send
};

size_t on_bytes(char* data, size_t size, size_t count, void* user) {
  auto* slot = static_cast<Slot*>(user);
  const size_t n = size * count;
  if (slot->keep_text) slot->text.append(data, n);
  if (slot->bytes + n <= slot->buffer.size())
    std::memcpy(slot->buffer.data() + slot->bytes, data, n);
  slot->bytes += n;
  return n;
}

size_t on_send(char* buffer, size_t size, size_t count, void* user) {
  auto* slot = static_cast<Slot*>(user);
  const size_t n = std::min(size * count, slot->left.size());
  std::memcpy(buffer, slot->left.data(), n);
  slot->left.remove_prefix(n);
  return n;
}

class Bucket {
 public:
  explicit Bucket(std::string name, int connections) : name_(std::move(name)), slots_(connections) {
    endpoint_ = variable("AWS_ENDPOINT_URL");
    credentials_.access_key_id = variable("AWS_ACCESS_KEY_ID");
    credentials_.secret_access_key = variable("AWS_SECRET_ACCESS_KEY");
    multi_ = curl_multi_init();
    for (Slot& slot : slots_) slot.easy = curl_easy_init();
  }
  Bucket(const Bucket&) = delete;
  Bucket& operator=(const Bucket&) = delete;
  ~Bucket() {
    for (Slot& slot : slots_) curl_easy_cleanup(slot.easy);
    curl_multi_cleanup(multi_);
  }

  std::string path(std::string_view key) const { return fmt::format("/{}/{}", name_, key); }

  // Performs what `next` gives until it gives nothing, as many at a time as there are connections. `done` sees
  // each answer.
  void perform(
      const std::function<std::optional<Request>(const Slot&)>& next,
      const std::function<void(Slot&)>& done = [](Slot&) {}) {
    int running = 0;
    for (Slot& slot : slots_) running += start(slot, next(slot));
    while (running > 0) {
      int still = 0;
      curl_multi_perform(multi_, &still);
      int messages = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi_, &messages)) {
        Slot* slot = nullptr;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
        check(*slot, message->data.result);
        curl_multi_remove_handle(multi_, slot->easy);
        bytes_ += slot->bytes;
        ++requests_;
        --running;
        done(*slot);
        running += start(*slot, next(*slot));
      }
      if (running > 0) curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
    }
  }
  void keep_text() {
    for (Slot& slot : slots_) slot.keep_text = true;
  }
  void keep_bytes(size_t most) {
    for (Slot& slot : slots_) slot.buffer.resize(most);
  }
  uint64_t bytes() const { return bytes_; }
  uint64_t requests() const { return requests_; }

 private:
  int start(Slot& slot, const std::optional<Request>& request) {
    if (!request) return 0;
    const storage::UnsignedRequest unsigned_request = {
        .method = request->method,
        .scheme = "http",
        .host = endpoint_.substr(endpoint_.find("//") + 2),
        .path = request->path,
        .query = request->query,
        .payload_sha256 = "UNSIGNED-PAYLOAD",
    };
    const std::string url = storage::presign(unsigned_request,
                                             credentials_,
                                             {variable("AWS_REGION")},
                                             std::chrono::system_clock::now(),
                                             std::chrono::hours(1));
    slot.bytes = 0;
    slot.text.clear();
    slot.left = request->body;
    CURL* easy = slot.easy;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 524288L);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &slot);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &slot);
    if (!request->range.empty()) curl_easy_setopt(easy, CURLOPT_RANGE, request->range.c_str());
    if (request->method == "PUT") {
      curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(
          easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request->body.size()));
      curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
      curl_easy_setopt(easy, CURLOPT_READDATA, &slot);
      curl_easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, 1L);
    } else if (request->method != "GET") {
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method.c_str());
    }
    curl_multi_add_handle(multi_, easy);
    return 1;
  }

  void check(const Slot& slot, CURLcode code) const {
    long status = 0;
    curl_easy_getinfo(slot.easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status / 100 == 2) return;
    const char* url = nullptr;
    curl_easy_getinfo(slot.easy, CURLINFO_EFFECTIVE_URL, &url);
    stop(fmt::format("{}: {}, status {}\n{}", url, curl_easy_strerror(code), status, slot.text));
  }

  const std::string name_;
  std::string endpoint_;
  storage::Credentials credentials_;
  CURLM* multi_ = nullptr;
  std::vector<Slot> slots_;
  uint64_t bytes_ = 0, requests_ = 0;
};

std::string random_bytes(uint64_t seed, size_t size) {
  std::string bytes(size, '\0');
  KeyedRandom random({seed});
  for (size_t i = 0; i + 8 <= size; i += 8) {
    const uint64_t word = random.next();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

std::string file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream stream;
  stream << file.rdbuf();
  if (!file) stop("cannot read " + path);
  return stream.str();
}

std::string plain(std::string xml) {
  constexpr std::array<std::pair<std::string_view, char>, 5> kNames = {
      {{"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&amp;", '&'}}};
  for (const auto& [name, character] : kNames) {
    for (size_t at = 0; (at = xml.find(name, at)) != std::string::npos; ++at) {
      xml.replace(at, name.size(), 1, character);
    }
  }
  return xml;
}

// The text between <NAME> and </NAME>, from `at` on, which moves behind it.
std::optional<std::string> element(const std::string& xml, std::string_view name, size_t& at) {
  const std::string open = fmt::format("<{}>", name), close = fmt::format("</{}>", name);
  const size_t begin = xml.find(open, at);
  if (begin == std::string::npos) return std::nullopt;
  const size_t end = xml.find(close, begin);
  if (end == std::string::npos) return std::nullopt;
  at = end + close.size();
  return plain(xml.substr(begin + open.size(), end - begin - open.size()));
}

void fill(Bucket& bucket, const std::string& prefix, size_t count, size_t size, size_t folders) {
  // 64 contents are enough to be no help to anybody's compression.
  std::vector<std::string> contents;
  for (uint64_t seed = 0; seed < std::min<size_t>(64, count); ++seed) {
    contents.push_back(random_bytes(seed, size));
  }
  size_t at = 0;
  bucket.perform([&](const Slot&) -> std::optional<Request> {
    if (at == count) return std::nullopt;
    const std::string key = fmt::format("{}/{:03}/{:06}.bin", prefix, at % folders, at);
    return Request{
        .method = "PUT", .path = bucket.path(key), .body = contents[at++ % contents.size()]};
  });
}

void copy(Bucket& bucket, const std::string& prefix, size_t count, std::span<char* const> files) {
  std::vector<std::string> contents;
  for (const char* file : files) contents.push_back(file_bytes(file));
  const std::string first = files[0];
  const std::string suffix = first.substr(std::min(first.rfind('.'), first.size()));
  size_t at = 0;
  bucket.perform([&](const Slot&) -> std::optional<Request> {
    if (at == count) return std::nullopt;
    const std::string key = fmt::format("{}/{:06}{}", prefix, at, suffix);
    return Request{
        .method = "PUT", .path = bucket.path(key), .body = contents[at++ % contents.size()]};
  });
}

// With a file, each range is written when it is whole.
void get(Bucket& bucket,
         const std::string& key,
         uint64_t range,
         uint64_t size,
         const std::string& path) {
  bucket.keep_bytes(range);
  UniqueFd file;
  if (!path.empty()) {
    file = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) stop("cannot make " + path);
  }
  std::map<const Slot*, uint64_t> begins;
  uint64_t at = 0;
  bucket.perform(
      [&](const Slot& slot) -> std::optional<Request> {
        if (at >= size) return std::nullopt;
        const uint64_t begin = begins[&slot] = std::exchange(at, at + range);
        return Request{.path = bucket.path(key),
                       .range = fmt::format("{}-{}", begin, std::min(begin + range, size) - 1)};
      },
      [&](Slot& slot) {
        if (slot.bytes != std::min(range, size - begins[&slot]))
          stop("the server sent another range");
        const auto offset = static_cast<off_t>(begins[&slot]);
        const auto bytes = static_cast<ssize_t>(slot.bytes);
        if (file && ::pwrite(file.get(), slot.buffer.data(), slot.bytes, offset) != bytes) {
          stop("cannot write to " + path);
        }
      });
}

// The keys below a prefix; `visit` sees each page's.
size_t list(Bucket& bucket,
            const std::string& prefix,
            const std::function<void(std::vector<std::string>)>& visit) {
  bucket.keep_text();
  std::optional<std::string> token = "";
  size_t keys = 0;
  bucket.perform(
      [&](const Slot&) -> std::optional<Request> {
        if (!token) return std::nullopt;
        Request request{.path = bucket.path(""), .query = {{"list-type", "2"}, {"prefix", prefix}}};
        if (!token->empty()) request.query.emplace_back("continuation-token", *token);
        return request;
      },
      [&](Slot& slot) {
        size_t at = 0;
        std::vector<std::string> page;
        while (auto key = element(slot.text, "Key", at)) page.push_back(std::move(*key));
        at = 0;
        token = element(slot.text, "NextContinuationToken", at);
        keys += page.size();
        visit(std::move(page));
      });
  return keys;
}

std::vector<std::string> keys_below(const std::string& name, const std::string& prefix) {
  std::vector<std::string> keys;
  Bucket lister(name, 1);
  list(lister, prefix, [&](auto page) { keys.insert(keys.end(), page.begin(), page.end()); });
  return keys;
}

void fetch(Bucket& bucket, const std::vector<std::string>& keys, const std::string& folder) {
  bucket.keep_text();
  std::map<const Slot*, size_t> under_way;
  nlohmann::json names = nlohmann::json::object();
  size_t at = 0;
  bucket.perform(
      [&](const Slot& slot) -> std::optional<Request> {
        if (at == keys.size()) return std::nullopt;
        under_way[&slot] = at;
        names[keys[at]] = std::to_string(at);
        return Request{.path = bucket.path(keys[at++])};
      },
      [&](Slot& slot) {
        std::ofstream file(fmt::format("{}/{}", folder, under_way[&slot]), std::ios::binary);
        if (!(file << slot.text)) stop("cannot write to " + folder);
      });
  std::ofstream(folder + "/keys.json") << names.dump();
}

int run(std::span<char* const> words) {
  const auto word = [&](size_t i) -> std::string {
    return i < words.size() ? words[i]
                            : (stop("too few arguments; see the head of bench/s3_raw.cpp"), "");
  };
  const auto number = [&](size_t i) -> uint64_t { return std::stoull(word(i)); };
  const std::string mode = word(0);
  const bool serial = mode == "list" || mode == "make" || mode == "put";
  const int connections = mode == "get" ? static_cast<int>(number(4)) : serial ? 1 : 16;
  Bucket bucket(word(1), connections);
  nlohmann::json result = {{"mode", mode}};
  const auto begin = std::chrono::steady_clock::now();
  if (mode == "make") {
    bool made = false;
    bucket.perform([&](const Slot&) -> std::optional<Request> {
      if (std::exchange(made, true)) return std::nullopt;
      return Request{.method = "PUT", .path = bucket.path("")};
    });
  } else if (mode == "fill") {
    fill(bucket, word(2), number(3), number(4), words.size() > 5 ? number(5) : 1);
  } else if (mode == "copy") {
    copy(bucket, word(2), number(3), words.subspan(4));
  } else if (mode == "put") {
    const std::string content = file_bytes(word(3));
    bool sent = false;
    bucket.perform([&](const Slot&) -> std::optional<Request> {
      if (std::exchange(sent, true)) return std::nullopt;
      return Request{.method = "PUT", .path = bucket.path(word(2)), .body = content};
    });
  } else if (mode == "get") {
    get(bucket, word(2), number(3), number(5), words.size() > 6 ? word(6) : "");
  } else if (mode == "list") {
    result["keys"] = list(bucket, word(2), [](const auto&) {});
  } else if (mode == "keys") {
    result["keys"] = keys_below(word(1), word(2));
  } else if (mode == "fetch") {
    fetch(bucket, keys_below(word(1), word(2)), word(3));
  } else if (mode == "remove") {
    std::vector<std::string> keys = keys_below(word(1), word(2));
    bucket.perform([&](const Slot&) -> std::optional<Request> {
      if (keys.empty()) return std::nullopt;
      Request request{.method = "DELETE", .path = bucket.path(keys.back())};
      keys.pop_back();
      return request;
    });
  } else {
    stop(fmt::format("there is no mode '{}'", mode));
  }
  result["seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  result["bytes"] = bucket.bytes();
  result["requests"] = bucket.requests();
  std::cout << result.dump() << std::endl;
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) {
  // libcurl leaves it to its caller; the server may close a connection that it was to be written to.
  std::signal(SIGPIPE, SIG_IGN);
  curl_global_init(CURL_GLOBAL_ALL);
  try {
    return atl::run({argv + 1, static_cast<size_t>(argc - 1)});
  } catch (const std::exception& error) {  // a number that is none
    std::cerr << "s3_raw: " << error.what() << "\n";
    return 1;
  }
}
