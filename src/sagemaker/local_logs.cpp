#include "sagemaker/local_logs.h"

#include <fmt/format.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "sagemaker/local_jobs.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;
using OnLine = std::function<void(const LogLine&)>;

// Of one host.
class HostLog {
 public:
  HostLog(stdfs::path file, std::string host) : file_(std::move(file)), host_(std::move(host)) {}

  // What has come since the last time. `to_the_end`: also a line that has no end yet.
  void show(const OnLine& line, bool to_the_end) {
    // It is made when the host starts.
    if (!stream_.is_open()) stream_.open(file_, std::ios::binary);
    if (!stream_.is_open()) return;
    stream_.clear();  // of the end that was there
    for (std::string part; std::getline(stream_, part);) {
      begun_ += part;
      if (!stream_.eof()) line({.host = host_, .text = std::exchange(begun_, {})});
    }
    if (to_the_end && !begun_.empty()) line({.host = host_, .text = std::exchange(begun_, {})});
  }

 private:
  stdfs::path file_;
  std::string host_;
  std::ifstream stream_;
  std::string begun_;
};

}  // namespace

Result<void> read_local_logs(const stdfs::path& root,
                             const Following& following,
                             const OnLine& line,
                             const std::stop_token& stop) {
  std::vector<HostLog> logs;
  while (true) {
    // First whether it has ended: what it said before is there.
    const auto job = ATOLL_TRY(read_local_job(root));
    if (!job)
      return fail(ErrorCode::kNotFound, fmt::format("there is no job in {}", root.string()));
    while (logs.size() < static_cast<size_t>(job->hosts)) {
      const std::string host = fmt::format("algo-{}", logs.size() + 1);
      logs.emplace_back(root / "logs" / (host + ".log"), job->hosts > 1 ? host : "");
    }
    const bool is_last = !following.follow || job->record.has_ended();
    for (HostLog& log : logs) log.show(line, is_last);
    if (is_last) return {};
    if (!wait_or_stop(following.every, following.pause, stop)) {
      return fail(ErrorCode::kCancelled,
                  fmt::format("no longer reading the logs of {}", job->record.name));
    }
  }
}

}  // namespace atl::sagemaker
