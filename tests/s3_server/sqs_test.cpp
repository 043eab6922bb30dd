// Events of a bucket in a queue, both played by somebody else: moto. It sends S3's notifications itself.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "storage/namespace/names_fixture.h"
#include "storage/namespace/sqs_events.h"
#include "storage/s3/http_engine.h"
#include "storage/s3/signer.h"
#include "storage/sha256.h"

namespace atl::storage {
namespace {

class FixedKeys : public CredentialsProvider {
 public:
  Result<std::shared_ptr<const Credentials>> get() override {
    return std::make_shared<const Credentials>(
        Credentials{"testaccess", "testsecretkey123", "", {}});
  }
};

class SqsTest : public NamesFixture {
 protected:
  void SetUp() override {
    const char* file = std::getenv("ATOLL_MOTO");
    std::ifstream stream(file == nullptr ? "" : file);
    if (!stream) GTEST_SKIP() << "there is no moto here; see the output of moto_starts";
    const auto moto = nlohmann::json::parse(stream);
    host_ = fmt::format("{}:{}", moto.at("host").get<std::string>(), moto.at("port").get<int>());
    auto engine = HttpEngine::make();
    ASSERT_TRUE(engine.has_value()) << engine.error().to_string();
    engine_ = *engine;
    name_ = fmt::format("events-{}", ::getpid());
  }

  HttpPerform perform() {
    return [engine = engine_](const HttpRequest& request) { return engine->perform(request); };
  }

  std::string call(std::string_view service,
                   std::string_view method,
                   const std::string& path,
                   const std::string& body,
                   std::vector<std::pair<std::string, std::string>> query = {},
                   std::vector<HttpHeader> headers = {}) {
    UnsignedRequest request;
    request.method = method;
    request.scheme = "http";
    request.host = host_;
    request.path = path;
    request.query = std::move(query);
    request.headers = std::move(headers);
    request.payload_sha256 = sha256_hex(body);
    const auto keys = *FixedKeys().get();
    const auto out = sign(
        request, keys.get(), {"us-east-1", std::string(service)}, std::chrono::system_clock::now());
    HttpRequest http;
    http.method = method;
    http.url = out.url;
    http.headers = out.headers;
    const auto bytes = std::as_bytes(std::span(body));
    http.body = Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
    const auto response = engine_->perform(http);
    if (!response || response->status / 100 != 2) {
      ADD_FAILURE() << method << ' ' << path << ": "
                    << (response ? response->body : response.error().to_string());
      return {};
    }
    return response->body;
  }

  std::string make_queue() {
    const auto answer = call("sqs",
                             "POST",
                             "/",
                             nlohmann::json{{"QueueName", name_}}.dump(),
                             {},
                             {{"Content-Type", "application/x-amz-json-1.0"},
                              {"X-Amz-Target", "AmazonSQS.CreateQueue"}});
    const auto json = nlohmann::json::parse(answer, nullptr, false);
    return json.is_object() ? json.value("QueueUrl", "") : "";
  }

  std::shared_ptr<HttpEngine> engine_;
  std::string host_;
  std::string name_;
};

TEST_F(SqsTest, what_s3_tells_a_queue_comes_into_the_namespace) {
  const auto queue = make_queue();
  ASSERT_FALSE(queue.empty());
  call("s3", "PUT", "/" + name_, "");
  call("s3",
       "PUT",
       "/" + name_,
       fmt::format("<NotificationConfiguration><QueueConfiguration>"
                   "<Queue>arn:aws:sqs:us-east-1:123456789012:{}</Queue>"
                   "<Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>"
                   "</QueueConfiguration></NotificationConfiguration>",
                   name_),
       {{"notification", ""}});

  auto names = open();
  import_all(*names);  // of an empty bucket: from here on, only events tell of anything
  SqsOptions options;
  options.queue_url = queue;
  options.region = "us-east-1";
  options.bucket = name_;
  options.prefix = "data/";
  options.wait = std::chrono::seconds(1);
  auto events = SqsEvents::open(names, perform(), std::make_shared<FixedKeys>(), options);
  ASSERT_TRUE(events.has_value()) << events.error().to_string();

  EXPECT_EQ(error_of(names->lookup("a b+c.txt")), ErrorCode::kNotFound);
  // moto's times have no zone, so its events do not tell all that AWS's do, and the bucket is asked: the
  // one in memory plays that.
  remote_->put("a b+c.txt", "hello");
  call("s3", "PUT", "/" + name_ + "/data/a b+c.txt", "hello");
  // Messages may come one by one; each round waits for one.
  for (int round = 0; round < 20 && !names->lookup("a b+c.txt"); ++round) {
    const auto counts = (*events)->receive();
    ASSERT_TRUE(counts.has_value()) << counts.error().to_string();
  }
  EXPECT_TRUE(names->lookup("a b+c.txt").has_value());

  call("s3", "DELETE", "/" + name_ + "/data/a b+c.txt", "");
  for (int round = 0; round < 20 && names->lookup("a b+c.txt"); ++round) {
    ASSERT_TRUE((*events)->receive().has_value());
  }
  EXPECT_EQ(error_of(names->lookup("a b+c.txt")), ErrorCode::kNotFound);
  EXPECT_EQ((*events)->receive()->messages, 0U);  // all were deleted
}

}  // namespace
}  // namespace atl::storage
