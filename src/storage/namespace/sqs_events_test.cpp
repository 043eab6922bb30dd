#include "storage/namespace/sqs_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "storage/namespace/names_fixture.h"
#include "storage/s3/fake_http.h"

namespace atl::storage {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class NoCredentials : public CredentialsProvider {
 public:
  Result<std::shared_ptr<const Credentials>> get() override {
    return std::make_shared<const Credentials>(Credentials{"AKID", "secret", "", {}});
  }
};

// A queue: what is sent can be received until it is deleted.
class SqsEventsTest : public NamesFixture {
 protected:
  SqsEventsTest() {
    http_.answer([this](const HttpRequest& request) { return serve(request); });
  }

  Result<HttpResponse> serve(const HttpRequest& request) {
    const json body = json::parse(request.body.text());
    EXPECT_EQ(body["QueueUrl"], kQueue);
    const auto target = FakeHttp::header(request, "X-Amz-Target");
    if (target == "AmazonSQS.ReceiveMessage") {
      json messages = json::array();
      for (const auto& [id, text] : queue_) {
        messages.push_back({{"MessageId", id}, {"ReceiptHandle", "r" + id}, {"Body", text}});
      }
      return FakeHttp::response(200, json{{"Messages", messages}}.dump());
    }
    EXPECT_EQ(target, "AmazonSQS.DeleteMessageBatch");
    for (const auto& entry : body["Entries"]) {
      queue_.erase(entry["ReceiptHandle"].get<std::string>().substr(1));
    }
    return FakeHttp::response(200, "{}");
  }

  void send(const std::string& text) { queue_[std::to_string(queue_.size() + sent_++)] = text; }
  static std::string event(const std::string& name,
                           const std::string& key,
                           const std::string& etag,
                           const std::string& sequencer,
                           const std::string& time = "2100-01-01T00:00:00Z",
                           const std::string& bucket = "lab") {
    const json object = {{"key", key}, {"size", 7}, {"eTag", etag}, {"sequencer", sequencer}};
    const json s3 = {{"bucket", {{"name", bucket}}}, {"object", object}};
    return json{{"Records", {{{"eventName", name}, {"eventTime", time}, {"s3", s3}}}}}.dump();
  }

  std::unique_ptr<SqsEvents> listen(std::shared_ptr<Namespace> names) {
    SqsOptions options;
    options.queue_url = kQueue;
    options.bucket = "lab";
    options.prefix = "coco/";
    options.log = [this](std::string_view line) { lines_.emplace_back(line); };
    auto events = SqsEvents::open(
        std::move(names), http_.perform(), std::make_shared<NoCredentials>(), options);
    if (!events) ADD_FAILURE() << events.error().to_string();
    return events ? std::move(*events) : nullptr;
  }

  static constexpr const char* kQueue = "https://sqs.eu-west-1.amazonaws.com/1/queue";
  FakeHttp http_;
  std::map<std::string, std::string> queue_;
  size_t sent_ = 0;
  std::vector<std::string> lines_;
};

TEST_F(SqsEventsTest, events_are_applied_and_their_messages_deleted) {
  put_many("a/", 3);
  auto names = open();
  import_all(*names);
  std::vector<std::string> changed;
  names->on_change([&](std::string_view key) { changed.emplace_back(key); });
  send(event("ObjectCreated:Put", "coco/a/new", "e1", "01"));
  send(event("ObjectRemoved:Delete", "coco/a/000001.jpg", "", "01"));
  send(event("ObjectCreated:Put", "elsewhere/x", "e1", "01"));
  send(event("ObjectCreated:Put", "coco/other-bucket", "e1", "01", "2100-01-01T00:00:00Z", "b"));
  const auto counts = listen(names)->receive();
  ASSERT_TRUE(counts) << counts.error().to_string();
  EXPECT_EQ(counts->messages, 4U);
  EXPECT_EQ(counts->events, 2U);
  EXPECT_EQ(counts->news, 2U);
  EXPECT_THAT(queue_, SizeIs(0));
  EXPECT_THAT(names_in(*names, "a"), ElementsAre("000000.jpg", "000002.jpg", "new"));
  EXPECT_EQ(names->lookup("a/new")->etag, "\"e1\"");
  EXPECT_EQ(names->lookup("a/new")->size_bytes, 7U);
  EXPECT_THAT(changed, ElementsAre("a/new", "a/000001.jpg"));
  EXPECT_EQ(remote_->counts().lists, 1U);
}

TEST_F(SqsEventsTest, requests_are_signed_for_sqs_in_the_queues_region) {
  ASSERT_TRUE(listen(open())->receive());
  const auto requests = http_.requests();
  ASSERT_THAT(requests, SizeIs(1));  // nothing to delete
  EXPECT_EQ(requests[0].method, "POST");
  EXPECT_EQ(requests[0].url, "https://sqs.eu-west-1.amazonaws.com/");
  EXPECT_THAT(std::string(FakeHttp::header(requests[0], "Authorization")),
              HasSubstr("/eu-west-1/sqs/aws4_request"));
}

TEST_F(SqsEventsTest, an_earlier_event_that_comes_later_changes_nothing) {
  remote_->put("a", "1");
  auto names = open();
  import_all(*names);
  auto events = listen(names);
  for (const auto& [name, etag, sequencer] :
       std::vector<std::array<std::string, 3>>{{"ObjectCreated:Put", "e2", "0A2"},
                                               {"ObjectCreated:Put", "e1", "0A1F"},
                                               {"ObjectRemoved:Delete", "", "0A1"},
                                               {"ObjectCreated:Put", "e2", "0A2"}}) {
    send(event(name, "coco/a", etag, sequencer));
    ASSERT_TRUE(events->receive());
    EXPECT_EQ(names->lookup("a")->etag, "\"e2\"") << sequencer;
  }
  send(event("ObjectRemoved:Delete", "coco/a", "", "0A20001"));
  ASSERT_TRUE(events->receive());
  EXPECT_EQ(error_of(names->lookup("a")), ErrorCode::kNotFound);
  EXPECT_EQ(remote_->counts().lists, 1U);
}

TEST_F(SqsEventsTest, the_bucket_decides_between_an_event_and_what_we_did_later) {
  auto names = open();
  import_all(*names);
  remote_->put("a", "ours");
  const auto ours = remote_->stat("a")->info;
  ASSERT_TRUE(names->record(ours, nullptr));
  auto events = listen(names);
  // The event of our own change is no news, even if its time is before that of our answer.
  send(event("ObjectCreated:Put", "coco/a", ours.etag, "01", "2000-01-01T00:00:00Z"));
  EXPECT_EQ(events->receive()->news, 0U);
  EXPECT_EQ(remote_->counts().lists, 1U);

  remote_->put("b", "ours");
  ASSERT_TRUE(names->record(remote_->stat("b")->info, nullptr));
  send(event("ObjectCreated:Put", "coco/b", "old", "01", "2000-01-01T00:00:00Z"));
  EXPECT_EQ(events->receive()->news, 1U);
  EXPECT_EQ(names->lookup("b")->etag, remote_->stat("b")->info.etag);
  EXPECT_EQ(remote_->counts().lists, 2U);  // asked
}

TEST_F(SqsEventsTest, what_is_no_event_stays_in_the_queue_and_is_named_once) {
  auto events = listen(open());
  send("hello");
  ASSERT_TRUE(events->receive());
  ASSERT_TRUE(events->receive());
  EXPECT_THAT(queue_, SizeIs(1));
  EXPECT_THAT(lines_, ElementsAre(HasSubstr("left alone")));
}

TEST_F(SqsEventsTest, a_refusal_says_what_is_missing) {
  auto events = listen(open());
  http_.answer(403, R"({"__type":"com.amazonaws.sqs#AccessDenied","message":"no"})");
  EXPECT_EQ(error_of(events->receive()), ErrorCode::kPermission);
  http_.answer(400, R"({"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"none"})");
  EXPECT_EQ(error_of(events->receive()), ErrorCode::kNotFound);
  http_.answer(503, "busy");
  EXPECT_EQ(error_of(events->receive()), ErrorCode::kIo);
  http_.answer(200, "busy");
  EXPECT_EQ(error_of(events->receive()), ErrorCode::kIo);
}

TEST_F(SqsEventsTest, a_url_that_is_no_queues_is_refused) {
  for (const char* url :
       {"", "queue", "ftp://host/queue", "https:///queue", "https://host/1/queue"}) {
    SqsOptions options;
    options.queue_url = url;
    EXPECT_EQ(error_of(SqsEvents::open(open(), http_.perform(), nullptr, options)),
              ErrorCode::kInvalidInput)
        << url;
  }
}

}  // namespace
}  // namespace atl::storage
