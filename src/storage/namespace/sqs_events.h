// Changes in a bucket, heard from an SQS queue to which S3 sends its notifications (directly, through
// SNS or through EventBridge), into a namespace.
//
// Best effort, as the events are: what is missed or comes late, the next import finds. A message is
// deleted once all of its events are in the database. One that cannot be read is somebody else's: it is
// named in the log, once, and left in the queue, for whoever that is or for its dead-letter queue.
//
// The queue must be this namespace's alone: what one receiver deletes, no other one sees. Processes that
// share a namespace's database may share its queue.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "storage/namespace/namespace.h"
#include "storage/s3/credentials.h"
#include "storage/s3/http.h"

namespace atl::storage {

struct SqsOptions {
  std::string queue_url;  // https://sqs.eu-west-1.amazonaws.com/123456789012/queue
  std::string region;     // where the queue's URL does not say it
  std::string bucket;     // events of others are passed over
  std::string prefix;     // of the namespace's keys in the bucket: "" or "coco/"
  // How long a request waits for a message. The destructor may wait as long.
  std::chrono::seconds wait{5};
  std::function<std::chrono::system_clock::time_point()> now;  // null: the system's clock
  std::function<void(std::string_view line)> log;              // null: nobody is told
};

struct SqsCounts {
  uint64_t messages = 0;  // received
  uint64_t events = 0;    // of this bucket and prefix
  uint64_t news = 0;      // that changed something
};

class SqsEvents {
 public:
  // kInvalidInput: a queue URL that is none, or without a region.
  static Result<std::unique_ptr<SqsEvents>> open(std::shared_ptr<Namespace> names,
                                                 HttpPerform http,
                                                 std::shared_ptr<CredentialsProvider> credentials,
                                                 SqsOptions options);
  ~SqsEvents();
  SqsEvents(const SqsEvents&) = delete;
  SqsEvents& operator=(const SqsEvents&) = delete;

  // One request for up to ten messages, applied and deleted.
  Result<SqsCounts> receive();
  // The same again and again, in a thread of its own; failures are logged, and tried again after a
  // second, then two, up to a minute.
  void start();

 private:
  struct Message {
    std::string id;
    std::string receipt;
    std::string body;
  };

  SqsEvents(std::shared_ptr<Namespace> names,
            HttpPerform http,
            std::shared_ptr<CredentialsProvider> credentials,
            SqsOptions options);
  Result<std::string> call(std::string_view action, const std::string& body);
  Result<std::vector<Message>> receive_messages();
  Result<void> remove(const std::vector<Message>& done);
  // Whether the message can be deleted.
  Result<bool> apply(const Message& message, SqsCounts& counts);
  void run(const std::stop_token& stop);
  void say(std::string_view line) const {
    if (options_.log) options_.log(line);
  }

  const std::shared_ptr<Namespace> names_;
  const HttpPerform http_;
  const std::shared_ptr<CredentialsProvider> credentials_;
  SqsOptions options_;
  std::string scheme_;
  std::string host_;
  std::set<std::string> unreadable_;  // messages that have been named; bounded
  std::jthread thread_;
};

}  // namespace atl::storage
