#include "doctor/job_file_plan.h"

#include <gmock/gmock.h>

namespace atl::doctor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST(JobFilePlan, a_job_file_names_all_that_is_looked_at) {
  const auto file = sagemaker::parse_job_file(R"(
name = "coco"
image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/atoll:1"
role = "arn:aws:iam::123456789012:role/atoll-job"
[instances]
type = "ml.p4d.24xlarge"
count = 4
[channels.train]
uri = "s3://data/coco"
[channels.val]
fsx = "fs-0a1b2c3d"
directory = "/abcdefgh/val"
[channels.weights]
fsx = "fs-0a1b2c3d"
directory = "/abcdefgh/weights"
[output]
uri = "s3://runs/jobs"
kms_key = "arn:aws:kms:eu-central-1:123456789012:key/k"
[checkpoints]
uri = "s3://runs/jobs"
[vpc]
subnets = ["subnet-0a1b2c3d"]
security_groups = ["sg-0a1b2c3d"]
)",
                                              "job.toml");
  ASSERT_TRUE(file.has_value()) << file.error().to_string();
  const JobPlan plan = with_job_file({}, *file);
  EXPECT_THAT(plan.subnets, ElementsAre("subnet-0a1b2c3d"));
  EXPECT_THAT(plan.security_groups, ElementsAre("sg-0a1b2c3d"));
  EXPECT_EQ(plan.role, "arn:aws:iam::123456789012:role/atoll-job");
  EXPECT_EQ(plan.file_system, "fs-0a1b2c3d");
  EXPECT_THAT(plan.directories, ElementsAre("/abcdefgh/val", "/abcdefgh/weights"));
  EXPECT_EQ(plan.instance_type, "ml.p4d.24xlarge");
  EXPECT_EQ(plan.instances, 4);
  EXPECT_THAT(plan.reads, ElementsAre("s3://data/coco"));
  EXPECT_THAT(plan.writes, ElementsAre("s3://runs/jobs"));
  EXPECT_EQ(plan.kms_key, "arn:aws:kms:eu-central-1:123456789012:key/k");
  EXPECT_TRUE(check_job_plan(plan).has_value());
  const auto findings = job_file_findings(*file, plan);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].severity, Severity::kOk) << findings[0].what;
  JobPlan given;
  given.role = "another";
  given.file_system = "fs-ffffffff";
  EXPECT_EQ(with_job_file(given, *file).role, "another");
  EXPECT_EQ(with_job_file(given, *file).file_system, "fs-ffffffff");
  EXPECT_TRUE(with_job_file(given, *file).directories.empty());
}

TEST(JobFilePlan, what_a_submission_would_refuse_is_a_failure_each) {
  const auto file =
      sagemaker::parse_job_file("name = \"a_b\"\n[output]\nuri = \"runs\"\n", "job.toml");
  ASSERT_TRUE(file.has_value()) << file.error().to_string();
  const auto findings = job_file_findings(*file, with_job_file({}, *file));
  ASSERT_GT(findings.size(), 2U);
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.id, id::kJobFile);
    EXPECT_EQ(finding.severity, Severity::kFailure);
    EXPECT_THAT(finding.what, StartsWith("job.toml: "));
  }
  EXPECT_THAT(findings[0].what, HasSubstr("name = \"a_b\" must be"));
}

TEST(JobFilePlan, an_id_that_is_none_is_told_with_all_else_that_is_wrong) {
  const auto file = sagemaker::parse_job_file(
      "name = \"a_b\"\n[vpc]\nsubnets = [\"vpc-1\"]\nsecurity_groups = [\"sg-0a1b2c3d\"]\n",
      "job.toml");
  ASSERT_TRUE(file.has_value()) << file.error().to_string();
  const auto findings = job_file_findings(*file, with_job_file({}, *file));
  ASSERT_GT(findings.size(), 2U);
  EXPECT_EQ(findings[0].what, "job.toml: \"vpc-1\" is no such id");
  EXPECT_THAT(findings[0].mend, HasSubstr("subnet-0123456789abcdef0"));
  EXPECT_THAT(findings[1].what, HasSubstr("name = \"a_b\" must be"));
}

}  // namespace
}  // namespace atl::doctor
