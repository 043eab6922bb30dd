#include "storage/namespace/s3_event.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "storage/s3/timestamps.h"

namespace atl::storage {
namespace {

using nlohmann::json;
using Change = ObjectEvent::Change;

// An SNS message may hold an EventBridge one; more than that is nobody's.
constexpr int kMostWrappings = 3;

tl::unexpected<Error> refuse(std::string_view why) {
  return fail(ErrorCode::kInvalidInput, fmt::format("not an S3 event: {}", why));
}

// Never null: an empty value where there is no such member.
const json& member(const json& object, const char* name) {
  static const json none;
  if (!object.is_object()) return none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

std::string text_of(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// '+' for a space, %XX for a byte; what is neither stays.
std::string decode_form(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (text[i] == '%' && high >= 0 && low >= 0) {
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += text[i] == '+' ? ' ' : text[i];
    }
  }
  return decoded;
}

// Events leave the quotes out that ETags have everywhere else.
std::string in_quotes(const std::string& etag) {
  return etag.empty() || etag.starts_with('"') ? etag : '"' + etag + '"';
}

// What the two forms have in common, behind their different names.
struct Told {
  std::string key;
  std::string etag;
  std::string time;
  bool removed = false;
  bool of_one_version = false;  // removed, but perhaps not the version that is shown
};

BucketEvent make_event(std::string bucket, Told told, const json& object) {
  BucketEvent made;
  made.bucket = std::move(bucket);
  ObjectEvent& event = made.event;
  event.info.key = std::move(told.key);
  event.sequencer = text_of(object, "sequencer");
  const auto time = parse_rfc3339(told.time);
  if (time) event.info.modified = *time;
  const json& size = member(object, "size");
  if (told.removed) {
    event.change = told.of_one_version ? Change::kUnclear : Change::kRemoved;
  } else if (!time || told.etag.empty() || !size.is_number_unsigned()) {
    event.change = Change::kUnclear;
  } else {
    event.info.size_bytes = size.get<uint64_t>();
    event.info.etag = in_quotes(told.etag);
  }
  return made;
}

Result<std::vector<BucketEvent>> of_records(const json& records) {
  std::vector<BucketEvent> events;
  for (const json& record : records) {
    std::string name = text_of(record, "eventName");
    if (name.starts_with("s3:")) name.erase(0, 3);  // other servers than AWS write it so
    const bool created = name.starts_with("ObjectCreated:");
    const bool removed =
        name.starts_with("ObjectRemoved:") || name.starts_with("LifecycleExpiration:");
    if (name.empty()) return refuse("a record without eventName");
    if (!created && !removed) continue;
    const json& s3 = member(record, "s3");
    const json& object = member(s3, "object");
    Told told;
    told.key = decode_form(text_of(object, "key"));
    if (told.key.empty()) return refuse("a record without a key");
    told.etag = text_of(object, "eTag");
    told.time = text_of(record, "eventTime");
    told.removed = removed;
    told.of_one_version = name.ends_with(":Delete") && !text_of(object, "versionId").empty();
    events.push_back(make_event(text_of(member(s3, "bucket"), "name"), std::move(told), object));
  }
  return events;
}

Result<std::vector<BucketEvent>> of_event_bridge(const json& message) {
  const std::string type = text_of(message, "detail-type");
  const bool created = type == "Object Created";
  const bool removed = type == "Object Deleted";
  if (!created && !removed) return std::vector<BucketEvent>{};
  const json& detail = member(message, "detail");
  const json& object = member(detail, "object");
  Told told;
  told.key = text_of(object, "key");
  if (told.key.empty()) return refuse("no key");
  told.etag = text_of(object, "etag");
  told.time = text_of(message, "time");
  told.removed = removed;
  told.of_one_version = text_of(detail, "deletion-type") == "Permanently Deleted" &&
                        !text_of(object, "version-id").empty();
  std::vector<BucketEvent> events;
  events.push_back(make_event(text_of(member(detail, "bucket"), "name"), std::move(told), object));
  return events;
}

}  // namespace

Result<std::vector<BucketEvent>> parse_s3_events(std::string_view text) {
  std::string unwrapped(text);
  for (int wrappings = 0; wrappings < kMostWrappings; ++wrappings) {
    const json message = json::parse(unwrapped, nullptr, /*allow_exceptions=*/false);
    if (!message.is_object()) return refuse("not a JSON object");
    if (const json& records = member(message, "Records"); records.is_array()) {
      return of_records(records);
    }
    if (text_of(message, "source") == "aws.s3") return of_event_bridge(message);
    if (text_of(message, "Event") == "s3:TestEvent") return std::vector<BucketEvent>{};
    const json& inner = member(message, "Message");
    if (text_of(message, "Type") != "Notification" || !inner.is_string()) {
      return refuse("neither S3's, nor EventBridge's, nor SNS's");
    }
    unwrapped = inner.get<std::string>();
  }
  return refuse("wrapped too often");
}

}  // namespace atl::storage
