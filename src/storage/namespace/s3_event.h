// The JSON in which S3 tells of changes, in all the wrappings in which it comes to a queue:
//   - S3's own notifications: {"Records": [{"eventName": "ObjectCreated:Put", "s3": {…}}, …]}, the key
//     encoded as in an HTML form;
//   - EventBridge: {"source": "aws.s3", "detail-type": "Object Created", "detail": {…}}, the key as it is;
//   - either of them as the text of an SNS message: {"Type": "Notification", "Message": "…"}.
// Source: "Event message structure" and "Using EventBridge" in the Amazon S3 User Guide.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "storage/namespace/namespace.h"

namespace atl::storage {

struct BucketEvent {
  std::string bucket;
  ObjectEvent event;  // with the bucket's own key
};

// The events that change what a bucket holds; none for those that do not (tags, restores, the test
// message that a new notification begins with). kInvalidInput: it is no such message.
Result<std::vector<BucketEvent>> parse_s3_events(std::string_view text);

}  // namespace atl::storage
