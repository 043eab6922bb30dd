// A mount of a bucket on a real server whose network goes away: readers wait for it as long as the client goes on trying, and
// then they and the log are told. The client's deadline is two minutes; here it is what a test needs (outage_test.py has
// the program's own).
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/unique_fd.h"
#include "fs/file_layer.h"
#include "fs/fuse_server.h"
#include "proxy.h"
#include "s3_server/s3_server.h"
#include "storage/cache/block_cache.h"
#include "storage/namespace/namespace.h"

namespace atl::fs {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr minutes kForGood{30};

class Outage : public storage::S3ServerTest {
 protected:
  void SetUp() override {
    S3ServerTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (::access("/dev/fuse", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "FUSE cannot be used here: /dev/fuse is missing or not ours";
    }
    std::string name = (std::filesystem::temp_directory_path() / "atoll-outage-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    std::filesystem::create_directory(folder_ / "mnt");
    const auto direct = remote();
    for (int i = 0; i < kFiles; ++i) {
      const auto put =
          direct->upload(std::to_string(i), storage::upload_source(blob_of(content_of(i))), {});
      ASSERT_TRUE(put) << put.error().to_string();
    }
    fault_proxy::ProxyOptions options;
    options.server_host = server_->host;
    options.server_port = static_cast<uint16_t>(server_->port);
    auto proxy = fault_proxy::Proxy::start(options);
    ASSERT_TRUE(proxy) << proxy.error().to_string();
    proxy_ = std::move(*proxy);
  }
  void TearDown() override {
    if (proxy_) plug_in();
    if (thread_.joinable()) {
      stop_.request_stop();
      thread_.join();
    }
    server_of_mount_.reset();
    layer_.reset();
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  static constexpr int kFiles = 4;
  static std::string content_of(int file) {
    std::string text;
    for (int line = 0; text.size() < 300'000; ++line) {
      text += fmt::format("{} of file {}\n", line, file);
    }
    return text;
  }
  static storage::Blob blob_of(const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text));
    return storage::Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
  }

  // A client that sees soon that nothing comes, and goes on trying until the deadline.
  void mount(milliseconds deadline) {
    storage::S3ClientOptions options;
    options.retries.deadline = deadline;
    options.retries.max_delay = milliseconds(200);
    options.connect_timeout = options.stall_timeout = milliseconds(500);
    options.last_try = milliseconds(1000);
    const auto bucket = storage::make_s3_remote(
        client_at(fmt::format("http://127.0.0.1:{}", proxy_->port()), server_->user, options), "");
    storage::NamespaceOptions names_options;
    names_options.directory = (folder_ / "names").string();
    names_options.log = [](std::string_view) {};
    auto names = storage::Namespace::open(bucket, names_options);
    ASSERT_TRUE(names) << names.error().to_string();
    storage::BlockCacheOptions cache_options;
    cache_options.directory = (folder_ / "cache").string();
    cache_options.max_bytes = uint64_t{64} << 20;
    cache_options.min_free_bytes = 0;
    auto cache = storage::BlockCache::open(cache_options);
    ASSERT_TRUE(cache) << cache.error().to_string();
    FileLayerOptions layer_options;
    layer_options.directory = (folder_ / "state").string();
    layer_options.import_interval = seconds(0);
    layer_options.read_only = true;
    auto layer = FileLayer::open(bucket, *names, *cache, layer_options);
    ASSERT_TRUE(layer) << layer.error().to_string();
    layer_ = std::move(*layer);

    FuseServerOptions server_options;
    server_options.mount_point = (folder_ / "mnt").string();
    server_options.source = "s3://bucket";
    server_options.read_only = true;
    server_options.log = [this](std::string_view line) {
      const std::lock_guard lock(mutex_);
      log_ += std::string(line) + "\n";
    };
    auto server = FuseServer::mount(*layer_, server_options);
    ASSERT_TRUE(server) << server.error().to_string();
    server_of_mount_ = std::move(*server);
    std::promise<void> ready;
    thread_ = std::thread([this, &ready] {
      const auto served =
          server_of_mount_->serve(stop_.get_token(), [&ready] { ready.set_value(); });
      EXPECT_TRUE(served) << served.error().to_string();
    });
    ready.get_future().wait();
    // The names are known from here on, the contents are not.
    for (int i = 0; i < kFiles; ++i) ASSERT_TRUE(std::filesystem::exists(path_of(i)));
  }
  std::string path_of(int file) const { return (folder_ / "mnt" / std::to_string(file)).string(); }

  // Its content, or the error that reading it gives.
  std::string read(int file) const {
    const UniqueFd fd(::open(path_of(file).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return std::string("open: ") + std::strerror(errno);
    std::string text;
    std::string piece(uint64_t{64} << 10, '\0');
    for (;;) {
      const ssize_t got = ::read(fd.get(), piece.data(), piece.size());
      if (got < 0) return std::string("read: ") + std::strerror(errno);
      if (got == 0) return text;
      text.append(piece, 0, static_cast<size_t>(got));
    }
  }
  // Once the network is there again; a machine may be slow.
  bool is_read_again(int file) const {
    const auto until = std::chrono::steady_clock::now() + minutes(1);
    while (read(file) != content_of(file)) {
      if (std::chrono::steady_clock::now() > until) return false;
    }
    return true;
  }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  uint64_t connections() const {
    return nlohmann::json::parse(proxy_->counts_json()).at("connections").get<uint64_t>();
  }
  void plug_in() {
    proxy_->unplug(milliseconds(0));
    proxy_->refuse(milliseconds(0));
  }

  std::filesystem::path folder_;
  std::unique_ptr<fault_proxy::Proxy> proxy_;
  std::unique_ptr<FileLayer> layer_;
  std::unique_ptr<FuseServer> server_of_mount_;
  std::stop_source stop_;
  std::thread thread_;
  std::mutex mutex_;
  std::string log_;
};

TEST_F(Outage, readers_wait_for_an_endpoint_that_is_away_and_go_on_when_it_is_back) {
  ASSERT_NO_FATAL_FAILURE(mount(minutes(5)));
  proxy_->unplug(kForGood);
  const uint64_t before = connections();
  std::vector<std::future<std::string>> readers;
  readers.reserve(kFiles);
  for (int i = 0; i < kFiles; ++i) {
    readers.push_back(std::async(std::launch::async, [this, i] { return read(i); }));
  }
  // Each of them has been tried several times.
  const auto until = std::chrono::steady_clock::now() + minutes(1);
  while (connections() < before + uint64_t{3} * kFiles) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << proxy_->counts_json();
    std::this_thread::yield();
  }
  for (auto& reader : readers) {
    EXPECT_EQ(reader.wait_for(seconds(0)), std::future_status::timeout);
  }
  plug_in();
  for (int i = 0; i < kFiles; ++i)
    EXPECT_TRUE(readers[static_cast<size_t>(i)].get() == content_of(i));
  EXPECT_EQ(log(), "");
}

TEST_F(Outage, past_the_deadline_readers_get_EIO_and_the_log_has_the_reason) {
  ASSERT_NO_FATAL_FAILURE(mount(seconds(2)));
  const std::string failed = std::string("read: ") + std::strerror(EIO);
  proxy_->unplug(kForGood);
  EXPECT_EQ(read(0), failed);
  EXPECT_THAT(log(), HasSubstr(fmt::format("GET s3://{}/0", bucket_)));
  EXPECT_THAT(log(), HasSubstr("(tried "));
  plug_in();
  EXPECT_TRUE(is_read_again(0));

  proxy_->refuse(kForGood);
  EXPECT_EQ(read(1), failed);
  EXPECT_THAT(log(), HasSubstr(fmt::format("GET s3://{}/1", bucket_)));
  plug_in();
  EXPECT_TRUE(is_read_again(1));
}

}  // namespace
}  // namespace atl::fs
