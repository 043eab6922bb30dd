// atoll job, run as a person runs it; SageMaker itself is tests/s3_server/job_commands_test.cpp's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "cli/program_fixture.h"
#include "sagemaker/metric_definitions.h"

namespace atl::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class JobCommand : public ProgramInFolder {
 protected:
  void write(const std::string& name, const std::string& text, bool program = false) {
    std::ofstream(folder_ / name) << text;
    if (program) ::chmod((folder_ / name).c_str(), 0755);
  }
};

constexpr const char* kRequest =
    "name = \"shapes\"\nimage = \"1.dkr.ecr.eu-central-1.amazonaws.com/atoll:1\"\n"
    "role = \"arn:aws:iam::123456789012:role/job\"\n[instances]\ntype = \"ml.m5.large\"\n"
    "[output]\nuri = \"s3://bucket/jobs\"\n[channels.train]\nuri = \"s3://bucket/shapes\"\n";

TEST_F(JobCommand, runs_a_job_and_tells_what_became_of_it) {
  write("job.toml", "name = \"shapes\"\n[output]\nuri = \"bucket\"\n");
  write("train.sh", "#!/bin/sh\necho at work\necho w > $ATOLL_SAGEMAKER_ROOT/model/m\n", true);
  const Outcome ran = run("job run job.toml --program ./train.sh");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out,
              AllOf(StartsWith("at work\n"),
                    HasSubstr("shapes  Completed\n"),
                    HasSubstr("bucket/shapes/output/model.tar.gz")));
  EXPECT_THAT(ran.err, AllOf(HasSubstr("-- "), HasSubstr(" Training: ./train.sh\n")));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "bucket/shapes/output/model.tar.gz"));

  const Outcome status = run("job status shapes");
  EXPECT_EQ(status.exit_code, 0);
  EXPECT_THAT(status.out, HasSubstr("shapes  Completed\n"));
  EXPECT_EQ(run("job logs shapes").out, "at work\n");
  EXPECT_EQ(run("job logs shapes --follow").out, "at work\n");
  EXPECT_THAT(run("job stop shapes").err, HasSubstr("does not run any more"));
  const Outcome uploaded = run("job upload shapes --to elsewhere");
  EXPECT_EQ(uploaded.exit_code, 0) << uploaded.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "elsewhere/shapes/output/model.tar.gz"));
  const Outcome refused = run("job upload shapes --to job.toml/jobs");  // in a file
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("\"atoll job upload shapes --to job.toml/jobs\""));
  EXPECT_THAT(run("job run job.toml --program ./train.sh").err, HasSubstr("--replace"));
}

TEST_F(JobCommand, a_full_disk_behind_long_logs_is_told_in_one_line) {
  write("job.toml", "name = \"shapes\"\n[output]\nuri = \"bucket\"\n");
  write("train.sh", "#!/bin/sh\necho w > $ATOLL_SAGEMAKER_ROOT/model/m\nseq 1 20000\n", true);
  ASSERT_EQ(run("job run job.toml --program ./train.sh").exit_code, 0);
  const std::string logs = "cd " + folder_.string() +
                           " && exec " ATOLL_BINARY_DIR
                           "/bin/atoll job logs shapes >/dev/full 2>err";
  const int status = ::system(logs.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_THAT(contents(folder_ / "err"),
              AllOf(StartsWith("atoll: writing to standard output: No space left on device"),
                    testing::Not(HasSubstr("unexpected"))));
}

TEST_F(JobCommand, starts_itself_under_the_name_of_train) {
  write("job.toml", "name = \"shapes\"\n");
  // Whatever it makes of it: it is this program that is started, by that name.
  run("job run job.toml");
  EXPECT_EQ(std::filesystem::read_symlink(folder_ / "runs/jobs/shapes/bin/train").filename(),
            "atoll");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "runs/jobs/shapes/job.json"));
}

TEST_F(JobCommand, fails_with_the_job) {
  write("job.toml", "name = \"shapes\"\n");
  write("train.sh", "#!/bin/sh\necho no data >&2\nexit 4\n", true);
  const Outcome ran = run("job run job.toml --program ./train.sh --hosts 2");
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.out, HasSubstr("reason  no data; algo-"));
  EXPECT_THAT(ran.err, HasSubstr("] no data\n"));
  EXPECT_EQ(run("job status shapes").exit_code, 1);
}

TEST_F(JobCommand, prints_the_request) {
  write("job.toml", kRequest);
  const Outcome rendered = run("job render job.toml --name other");
  EXPECT_EQ(rendered.exit_code, 0) << rendered.err;
  const auto request = nlohmann::json::parse(rendered.out);
  const auto& metrics = request.at("AlgorithmSpecification").at("MetricDefinitions");
  ASSERT_EQ(metrics.size(), sagemaker::metric_definitions().size());
  EXPECT_EQ(metrics.front().at("Name"), "train:loss");
  EXPECT_EQ(request.at("TrainingJobName"), "other");
  EXPECT_EQ(request.at("ResourceConfig").at("InstanceType"), "ml.m5.large");
  const auto unique = nlohmann::json::parse(run("job render job.toml --unique").out);
  EXPECT_THAT(unique.at("TrainingJobName").get<std::string>(),
              testing::MatchesRegex("shapes-[0-9]{8}-[0-9]{6}"));
}

TEST_F(JobCommand, names_every_problem_before_anybody_is_asked) {
  write("job.toml", "name = \"a_b\"\n[output]\nuri = \"runs\"\n");
  // Nobody listens there: a call would take its time, and say something else.
  const Outcome submitted =
      run("job submit job.toml --region eu-central-1 --endpoint-url http://127.0.0.1:9");
  EXPECT_EQ(submitted.exit_code, 2);
  EXPECT_THAT(submitted.err,
              AllOf(HasSubstr("job.toml: name = \"a_b\" must be"),
                    HasSubstr("job.toml: image must name"),
                    HasSubstr("job.toml: output.uri = \"runs\" must be s3://"),
                    HasSubstr("atoll: job.toml is not a job that can be run: 5 lines to mend")));
}

TEST_F(JobCommand, refuses_what_is_no_duration_or_no_name) {
  write("job.toml", "name = \"a\"\n");
  EXPECT_EQ(run("job run job.toml --grace soon").exit_code, 2);
  EXPECT_EQ(run("job run job.toml --spot-interrupt-after 5parsec").exit_code, 2);
  EXPECT_EQ(run("job status ../x").exit_code, 2);
  EXPECT_EQ(run("job upload none").exit_code, 2);
}

}  // namespace
}  // namespace atl::cli
