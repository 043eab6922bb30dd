// A job's lines at CloudWatch: one stream for each host, NAME/algo-1-1234567890, read page by page from its beginning. The
// token of a stream's last page is also where its next lines will be, so nothing is read twice and nothing is missed,
// however late it comes; between the streams, lines are put in order of their times as far as they are there.
#include <fmt/format.h>

#include <deque>
#include <map>

#include "sagemaker/training_jobs.h"

namespace atl::sagemaker {
namespace {

using Json = nlohmann::json;

constexpr const char* kLogGroup = "/aws/sagemaker/TrainingJobs";
// What CloudWatch still gets after a job has ended comes within a few rounds.
constexpr int kQuietRounds = 2;

std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

// "NAME/algo-1-1700000000": "algo-1".
std::string host_of(std::string_view stream) {
  const size_t slash = stream.rfind('/');
  std::string_view host = slash == std::string_view::npos ? stream : stream.substr(slash + 1);
  constexpr std::string_view kAlgo = "algo-";
  if (!host.starts_with(kAlgo)) return {};
  return std::string(host.substr(0, host.find('-', kAlgo.size())));
}

struct Stream {
  std::string host;
  std::string token;            // of the next page; "" before the first
  std::deque<LogLine> waiting;  // not shown yet
  bool at_end = false;          // of what there is now
};

class LogReader {
 public:
  LogReader(aws::AwsClient& client, std::string_view name, const std::stop_token& stop)
      : client_(client), name_(name), stop_(stop) {}

  // Streams begin when their hosts do.
  Result<void> find_streams() {
    std::string token;
    do {
      Json input = {{"logGroupName", kLogGroup},
                    {"logStreamNamePrefix", fmt::format("{}/", name_)}};
      if (!token.empty()) input["nextToken"] = token;
      auto answer = client_.call(aws::kCloudWatchLogs, "DescribeLogStreams", input, stop_);
      // The group is made with the account's first job.
      if (!answer && answer.error().code == ErrorCode::kNotFound) return {};
      if (!answer) return tl::unexpected<Error>(std::move(answer).error());
      const auto list = answer->find("logStreams");
      if (list == answer->end() || !list->is_array()) return {};
      for (const Json& entry : *list) {
        const std::string stream = entry.is_object() ? text_of(entry, "logStreamName") : "";
        if (!stream.empty()) streams_.try_emplace(stream, Stream{.host = host_of(stream)});
      }
      const std::string next = text_of(*answer, "nextToken");
      if (next == token) break;
      token = next;
    } while (!token.empty());
    return {};
  }

  bool has_streams() const { return !streams_.empty(); }

  // What is there now; whether that was anything.
  Result<bool> show(const std::function<void(const LogLine&)>& line) {
    for (auto& [name, stream] : streams_) stream.at_end = false;
    bool any = false;
    while (true) {
      for (auto& [name, stream] : streams_) {
        ATOLL_TRY(fill(name, stream));
      }
      Stream* earliest = nullptr;
      for (auto& [name, stream] : streams_) {
        if (stream.waiting.empty()) continue;
        if (earliest == nullptr ||
            stream.waiting.front().time_ms < earliest->waiting.front().time_ms) {
          earliest = &stream;
        }
      }
      if (earliest == nullptr) return any;
      line(earliest->waiting.front());
      earliest->waiting.pop_front();
      any = true;
    }
  }

 private:
  // Until there is a line or the end: an empty page alone is not the end.
  Result<void> fill(const std::string& name, Stream& stream) {
    while (stream.waiting.empty() && !stream.at_end) {
      Json input = {{"logGroupName", kLogGroup}, {"logStreamName", name}, {"startFromHead", true}};
      if (!stream.token.empty()) input["nextToken"] = stream.token;
      auto answer = client_.call(aws::kCloudWatchLogs, "GetLogEvents", input, stop_);
      if (!answer) return tl::unexpected<Error>(std::move(answer).error());
      if (const auto events = answer->find("events");
          events != answer->end() && events->is_array()) {
        for (const Json& event : *events) add(event, stream);
      }
      const std::string next = text_of(*answer, "nextForwardToken");
      // The same token again is CloudWatch's way to say that this is all.
      stream.at_end = next.empty() || next == stream.token;
      if (!next.empty()) stream.token = next;
    }
    return {};
  }

  static void add(const Json& event, Stream& stream) {
    if (!event.is_object()) return;
    LogLine line;
    line.host = stream.host;
    line.text = text_of(event, "message");
    while (line.text.ends_with('\n') || line.text.ends_with('\r')) line.text.pop_back();
    const auto time = event.find("timestamp");
    if (time != event.end() && time->is_number_integer()) line.time_ms = time->get<int64_t>();
    stream.waiting.push_back(std::move(line));
  }

  aws::AwsClient& client_;
  const std::string_view name_;
  const std::stop_token& stop_;
  std::map<std::string, Stream> streams_;
};

}  // namespace

Result<void> read_logs(aws::AwsClient& client,
                       std::string_view name,
                       const Following& following,
                       const std::function<void(const LogLine&)>& line,
                       const std::stop_token& stop) {
  LogReader reader(client, name, stop);
  int quiet = 0;
  while (true) {
    // First whether it has ended: what it said before is there, or about to come.
    const JobRecord job = ATOLL_TRY(describe_job(client, name, stop));
    ATOLL_TRY(reader.find_streams());
    const bool any = ATOLL_TRY(reader.show(line));
    quiet = any ? 0 : quiet + 1;
    if (!following.follow) break;
    if (job.has_ended() && quiet >= kQuietRounds) break;
    if (!wait_or_stop(following.every, following.pause, stop)) {
      return fail(ErrorCode::kCancelled, fmt::format("no longer reading the logs of {}", name));
    }
  }
  if (!reader.has_streams()) {
    return fail(ErrorCode::kNotFound,
                fmt::format("{} has logged nothing yet", name),
                "its first lines come when its instances are there: --follow waits for them");
  }
  return {};
}

}  // namespace atl::sagemaker
