#include "sagemaker/validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::sagemaker {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

JobFile good_job() {
  JobFile job;
  job.name = "coco-r50";
  job.image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/atoll@sha256:0123";
  job.role = "arn:aws:iam::123456789012:role/service-role/job";
  job.instances.type = "ml.p4d.24xlarge";
  job.output.uri = "s3://bucket/jobs";
  JobChannel channel;
  channel.name = "train";
  channel.uri = "s3://bucket/coco";
  job.channels = {channel};
  return job;
}

JobFile with_lustre() {
  JobFile job = good_job();
  job.channels[0].uri.clear();
  job.channels[0].file_system = {"fs-0123456789abcdef0", true, "/abcdefgh/coco", "ro"};
  job.vpc.subnets = {"subnet-0a1b2c3d"};
  job.vpc.security_groups = {"sg-0a1b2c3d"};
  return job;
}

// What is wrong with the job once `change` has been made.
template <typename Change>
Problems after(JobFile job, const Change& change) {
  change(job);
  return problems_of_request(job);
}

#define EXPECT_PROBLEM(job, change, text) \
  EXPECT_THAT(after(job, [](JobFile& j) { change; }), Contains(HasSubstr(text))) << #change

TEST(Validation, finds_nothing_wrong_with_good_jobs) {
  EXPECT_THAT(problems_of_request(good_job()), IsEmpty());
  EXPECT_THAT(problems_of_request(with_lustre()), IsEmpty());
}

TEST(Validation, holds_names_against_the_services_patterns) {
  EXPECT_PROBLEM(good_job(), j.name = "a_b", "name = \"a_b\" must be 1 to 63");
  EXPECT_PROBLEM(good_job(), j.role = "role/job", "role = ");
  EXPECT_PROBLEM(good_job(), j.role = "arn:aws:iam::12:role/job", "role = ");
  EXPECT_PROBLEM(good_job(), j.image = "", "image must name");
  EXPECT_PROBLEM(good_job(), j.instances.type = "p4d.24xlarge", "instances.type");
  EXPECT_PROBLEM(good_job(), j.channels[0].name = "a b", "channels.a b: a channel's name");
}

TEST(Validation, holds_numbers_against_the_services_limits) {
  EXPECT_PROBLEM(good_job(), j.instances.count = 0, "instances.count = 0 must be 1 to");
  EXPECT_PROBLEM(good_job(), j.instances.volume_gb = 0, "instances.volume_gb");
  EXPECT_PROBLEM(good_job(), j.retries = 31, "retries = 31 must be 0 to 30");
  EXPECT_PROBLEM(good_job(), j.channels.resize(21, j.channels[0]), "at most 20");
  EXPECT_PROBLEM(good_job(), j.stopping.max_runtime_s = 0, "stopping.max_runtime_s");
  EXPECT_PROBLEM(good_job(), j.stopping.max_pending_s = 60, "stopping.max_pending_s");
  EXPECT_PROBLEM(good_job(), j.profiler.interval_ms = 300, "100, 200, 500, 1000, 5000 or 60000");
  EXPECT_PROBLEM(
      good_job(), j.environment["A"] = std::string(513, 'x'), "environment.A: the value has 513");
  EXPECT_PROBLEM(good_job(), j.environment["1A"] = "", "environment.1A");
  EXPECT_PROBLEM(good_job(), j.hyperparameters["a"] = std::string(2501, 'x'), "2501 characters");
  EXPECT_PROBLEM(good_job(),
                 for (int i = 0; i < 101; ++i) j.hyperparameters[std::to_string(i)] = "",
                 "hyperparameters: there are 101");
  EXPECT_PROBLEM(good_job(), j.tags["aws:x"] = "", "tags.aws:x");
  // Characters, not bytes.
  EXPECT_THAT(after(good_job(),
                    [](JobFile& j) {
                      for (int i = 0; i < 512; ++i) j.environment["A"] += "ä";
                    }),
              IsEmpty());
}

TEST(Validation, knows_what_a_file_system_needs) {
  EXPECT_PROBLEM(with_lustre(), j.channels[0].file_system->id = "fs-123", "channels.train.fsx");
  EXPECT_PROBLEM(
      with_lustre(), j.channels[0].file_system->id = "fs-0123456G", "channels.train.fsx");
  EXPECT_PROBLEM(with_lustre(), j.vpc.subnets = {"vpc-0a1b2c3d"}, "must be subnet- and 8 to 18");
  EXPECT_PROBLEM(with_lustre(), j.vpc.security_groups = {"default"}, "must be sg- and 8 to 18");
  EXPECT_PROBLEM(with_lustre(), j.channels[0].file_system->access = "rx", "\"ro\" or \"rw\"");
  EXPECT_PROBLEM(with_lustre(), j.channels[0].mode = DataMode::kFastFile, "must be \"File\"");
  EXPECT_PROBLEM(
      with_lustre(), j.channels[0].file_system->directory = "abcdefgh", "begin with '/'");
  EXPECT_PROBLEM(with_lustre(),
                 j.channels[0].file_system->directory = "/mnt/fsx/coco",
                 "channels.train.directory");
  EXPECT_PROBLEM(with_lustre(), j.vpc = {}, "within its VPC");
  // EFS has no mount name.
  EXPECT_THAT(after(with_lustre(),
                    [](JobFile& j) {
                      j.channels[0].file_system->is_lustre = false;
                      j.channels[0].file_system->directory = "/some-folder/x";
                    }),
              IsEmpty());
}

TEST(Validation, knows_what_contradicts_itself) {
  EXPECT_PROBLEM(good_job(), j.spot.max_wait_s = 100, "without spot.enabled");
  EXPECT_PROBLEM(good_job(),
                 (j.spot.enabled = true, j.spot.max_wait_s = 100),
                 "at least stopping.max_runtime_s");
  EXPECT_PROBLEM(
      good_job(), (j.spot.enabled = true, j.instances.keep_alive_s = 60), "exclude each other");
  EXPECT_PROBLEM(good_job(), j.checkpoints.path = "/opt/ml/c", "without checkpoints.uri");
  EXPECT_PROBLEM(good_job(), j.profiler.interval_ms = 500, "without profiler.uri");
  EXPECT_PROBLEM(good_job(), j.vpc.subnets = {"subnet-1"}, "vpc.security_groups must be 1 to 5");
  EXPECT_PROBLEM(
      good_job(), (j.channels[0].mode = DataMode::kInPlace, j.vpc.isolate = true), "vpc.isolate");
  EXPECT_PROBLEM(good_job(),
                 (j.channels[0].mode = DataMode::kInPlace, j.hyperparameters["data.path"] = "x"),
                 "data.path is there");
}

TEST(Validation, wants_buckets_where_the_service_does) {
  EXPECT_PROBLEM(good_job(), j.output.uri = "", "output.uri");
  EXPECT_PROBLEM(good_job(), j.output.uri = "runs", "must be s3://BUCKET/PREFIX");
  EXPECT_PROBLEM(good_job(), j.channels[0].uri = "/data/coco", "channels.train.uri");
  EXPECT_PROBLEM(good_job(), j.checkpoints.uri = "s3://", "checkpoints.uri");
}

TEST(Validation, of_a_job_here_needs_less_and_knows_what_cannot_be_played) {
  JobFile job;
  job.name = "shapes";
  JobChannel channel;
  channel.name = "train";
  channel.uri = "shapes";
  job.channels = {channel};
  EXPECT_THAT(problems_of_local_run(job), IsEmpty());
  job.channels[0].mode = DataMode::kPipe;
  EXPECT_THAT(problems_of_local_run(job), IsEmpty());
  job.channels[0].mode = DataMode::kFastFile;
  EXPECT_THAT(problems_of_local_run(job), Contains(HasSubstr("mounts a bucket")));
  EXPECT_THAT(problems_of_local_run(with_lustre()),
              Contains(HasSubstr("channels.train.local must name")));
  job.channels.clear();
  job.checkpoints.path = "/etc/x";
  EXPECT_THAT(problems_of_local_run(job), Contains(HasSubstr("below /opt/ml")));
  job.checkpoints.path = "/opt/ml/../../x";
  EXPECT_THAT(problems_of_local_run(job), Contains(HasSubstr("below /opt/ml")));
}

}  // namespace
}  // namespace atl::sagemaker
