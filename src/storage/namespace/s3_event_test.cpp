// The messages are those of the Amazon S3 User Guide ("Event message structure", "Amazon S3 event
// notification message structure with EventBridge"), shortened.
#include "storage/namespace/s3_event.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace atl::storage {
namespace {

using Change = ObjectEvent::Change;

const char* const kPut = R"({"Records":[{"eventVersion":"2.1","eventSource":"aws:s3",
  "awsRegion":"us-west-2","eventTime":"1970-01-01T00:00:01.500Z","eventName":"ObjectCreated:Put",
  "s3":{"s3SchemaVersion":"1.0","configurationId":"testConfigRule",
    "bucket":{"name":"amzn-s3-demo-bucket","arn":"arn:aws:s3:::amzn-s3-demo-bucket"},
    "object":{"key":"Happy+Face%2B%C3%A9.jpg","size":1024,
      "eTag":"d41d8cd98f00b204e9800998ecf8427e","versionId":"096fKKXTRTtl3on89fVO.nfljtsv6qko",
      "sequencer":"0055AED6DCD90281E5"}}}]})";

const char* const kBridge = R"({"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103",
  "detail-type":"Object Created","source":"aws.s3","account":"111122223333",
  "time":"2021-11-12T00:00:00Z","region":"ca-central-1","detail":{"version":"0",
    "bucket":{"name":"amzn-s3-demo-bucket1"},
    "object":{"key":"a+b%20c.jpg","size":5,"etag":"b1946ac92492d2347c6235b4d2611184",
      "version-id":"IYV3p45BT0ac8hjHg1houSdS1a.Mro8e","sequencer":"617f08299329d189"},
    "request-id":"N4N7GDK58NMKJ12R","reason":"PutObject"}})";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string in_sns(const std::string& message) {
  return nlohmann::json{{"Type", "Notification"}, {"TopicArn", "arn"}, {"Message", message}}.dump();
}

BucketEvent one(const std::string& text) {
  auto events = parse_s3_events(text);
  if (!events || events->size() != 1) {
    ADD_FAILURE() << (events ? "not one event" : events.error().to_string());
    return {};
  }
  return events->front();
}

TEST(S3Event, a_notification_names_the_object_and_its_version) {
  const auto [bucket, event] = one(kPut);
  EXPECT_EQ(bucket, "amzn-s3-demo-bucket");
  EXPECT_EQ(event.change, Change::kPut);
  EXPECT_EQ(event.info.key, "Happy Face+\xc3\xa9.jpg");
  EXPECT_EQ(event.info.size_bytes, 1024U);
  EXPECT_EQ(event.info.etag, "\"d41d8cd98f00b204e9800998ecf8427e\"");
  EXPECT_EQ(event.info.modified.time_since_epoch(), std::chrono::milliseconds(1500));
  EXPECT_EQ(event.sequencer, "0055AED6DCD90281E5");
}

TEST(S3Event, event_bridge_writes_keys_as_they_are) {
  const auto [bucket, event] = one(kBridge);
  EXPECT_EQ(bucket, "amzn-s3-demo-bucket1");
  EXPECT_EQ(event.change, Change::kPut);
  EXPECT_EQ(event.info.key, "a+b%20c.jpg");
  EXPECT_EQ(event.info.etag, "\"b1946ac92492d2347c6235b4d2611184\"");
}

TEST(S3Event, sns_wraps_either) {
  EXPECT_EQ(one(in_sns(kPut)).event.info.key, "Happy Face+\xc3\xa9.jpg");
  EXPECT_EQ(one(in_sns(kBridge)).event.info.key, "a+b%20c.jpg");
  EXPECT_FALSE(parse_s3_events(in_sns(in_sns(in_sns(kPut)))));
}

TEST(S3Event, a_removed_object_is_gone_but_a_removed_version_may_be_an_old_one) {
  const auto marker = replaced(kPut, "ObjectCreated:Put", "ObjectRemoved:DeleteMarkerCreated");
  EXPECT_EQ(one(marker).event.change, Change::kRemoved);
  const auto version = replaced(kPut, "ObjectCreated:Put", "ObjectRemoved:Delete");
  EXPECT_EQ(one(version).event.change, Change::kUnclear);
  EXPECT_EQ(one(replaced(version, "versionId", "other")).event.change, Change::kRemoved);
  const auto expired =
      replaced(kPut, "ObjectCreated:Put", "LifecycleExpiration:DeleteMarkerCreated");
  EXPECT_EQ(one(expired).event.change, Change::kRemoved);
  const auto bridge = replaced(kBridge, "Object Created", "Object Deleted");
  EXPECT_EQ(one(bridge).event.change, Change::kRemoved);
  EXPECT_EQ(one(replaced(bridge, "\"reason\":", "\"deletion-type\":\"Permanently Deleted\",\"r\":"))
                .event.change,
            Change::kUnclear);
}

TEST(S3Event, what_a_message_leaves_out_the_bucket_has_to_say) {
  EXPECT_EQ(one(replaced(kPut, "\"size\"", "\"x\"")).event.change, Change::kUnclear);
  EXPECT_EQ(one(replaced(kPut, "eTag", "x")).event.change, Change::kUnclear);
  EXPECT_EQ(one(replaced(kPut, "1970-01-01T", "soon")).event.change, Change::kUnclear);
  EXPECT_EQ(one(replaced(kPut, "1024", "-1")).event.change, Change::kUnclear);
}

TEST(S3Event, other_events_change_nothing) {
  const std::string test = R"({"Service":"Amazon S3","Event":"s3:TestEvent",
    "Time":"2014-10-13T15:57:02.089Z","Bucket":"amzn-s3-demo-bucket"})";
  for (const std::string& text : {test,
                                  in_sns(test),
                                  replaced(kPut, "ObjectCreated:Put", "ObjectTagging:Put"),
                                  replaced(kBridge, "Object Created", "Object Tags Added")}) {
    const auto events = parse_s3_events(text);
    ASSERT_TRUE(events) << text;
    EXPECT_TRUE(events->empty()) << text;
  }
}

TEST(S3Event, what_is_no_event_is_refused) {
  for (const std::string& text : {std::string(),
                                  std::string("{"),
                                  std::string("[]"),
                                  std::string("{}"),
                                  std::string(R"({"Records":[{}]})"),
                                  replaced(kPut, "\"key\"", "\"x\""),
                                  replaced(kBridge, "\"key\"", "\"x\""),
                                  in_sns("hello")}) {
    EXPECT_FALSE(parse_s3_events(text)) << text;
  }
}

}  // namespace
}  // namespace atl::storage
