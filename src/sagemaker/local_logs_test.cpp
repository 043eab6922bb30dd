#include "sagemaker/local_logs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sagemaker/local_jobs.h"
#include "sagemaker/temporary_folder.h"
#include "storage/cache/process_identity.h"

namespace atl::sagemaker {
namespace {

using testing::ElementsAre;

class LocalLogs : public testing::Test {
 protected:
  void write_job(const std::string& status, int hosts) {
    LocalJob job;
    job.record.name = "job";
    job.record.status = status;
    job.process = storage::this_process().text();
    job.hosts = hosts;
    ASSERT_TRUE(write_local_job(folder_.path(), job).has_value());
  }
  void append(int host, const std::string& text) {
    const auto logs = folder_.path() / "logs";
    std::filesystem::create_directories(logs);
    std::ofstream(logs / ("algo-" + std::to_string(host) + ".log"), std::ios::app) << text;
  }
  Result<void> read(const std::stop_token& stop = {}) {
    return read_local_logs(
        folder_.path(),
        following_,
        [this](const LogLine& line) { lines_.push_back(line.host + ": " + line.text); },
        stop);
  }

  const TemporaryFolder folder_;
  Following following_;
  std::vector<std::string> lines_;
};

TEST_F(LocalLogs, that_are_followed_come_line_by_line_until_the_job_has_ended) {
  write_job("InProgress", 2);
  append(1, "one\nha");
  int rounds = 0;
  following_.follow = true;
  following_.pause = [&](std::chrono::milliseconds) {
    if (++rounds == 1) {
      EXPECT_THAT(lines_, ElementsAre("algo-1: one"));
      append(1, "lf\n\n");
      append(2, "two\n");
    } else {
      EXPECT_THAT(lines_, ElementsAre("algo-1: one", "algo-1: half", "algo-1: ", "algo-2: two"));
      append(1, "without an end");
      write_job("Completed", 2);
    }
  };
  const auto followed = read();
  EXPECT_TRUE(followed.has_value()) << followed.error().to_string();
  EXPECT_EQ(rounds, 2);
  EXPECT_EQ(lines_.back(), "algo-1: without an end");
  EXPECT_EQ(lines_.size(), 5U);
}

TEST_F(LocalLogs, that_are_not_followed_are_what_there_is) {
  write_job("InProgress", 1);
  EXPECT_TRUE(read().has_value());
  append(1, "one\ntwo");
  EXPECT_TRUE(read().has_value());
  EXPECT_THAT(lines_, ElementsAre(": one", ": two"));
}

TEST_F(LocalLogs, are_left_when_told_to_stop) {
  write_job("InProgress", 1);
  std::stop_source stop;
  following_.follow = true;
  following_.pause = [&](std::chrono::milliseconds) { stop.request_stop(); };
  EXPECT_EQ(read(stop.get_token()).error().code, ErrorCode::kCancelled);
}

TEST_F(LocalLogs, of_no_job_are_not_found) { EXPECT_EQ(read().error().code, ErrorCode::kNotFound); }

}  // namespace
}  // namespace atl::sagemaker
