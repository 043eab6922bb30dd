#include "sagemaker/job_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <sstream>

namespace atl::sagemaker {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

std::string refusal(std::string_view text) {
  const auto job = parse_job_file(text, "job.toml");
  return job ? "taken" : job.error().to_string();
}

// Every key that there is; a new one belongs here, too.
constexpr std::string_view kWhole = R"(
name = "coco-r50"
image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/atoll:1"
role = "arn:aws:iam::123456789012:role/job"
region = "eu-central-1"
retries = 3
[instances]
type = "ml.p4d.24xlarge"
count = 2
volume_gb = 100
keep_alive_s = 600
[channels.train]
uri = "s3://bucket/coco"
mode = "FastFile"
sharded = true
content_type = "image/jpeg"
[channels.fsx]
fsx = "fs-0123456789abcdef0"
directory = "/abcdefgh/coco"
access = "rw"
local = "/mnt/fsx/coco"
[channels.weights]
efs = "fs-0123456789abcdef1"
directory = "/weights"
[hyperparameters]
preset = "r50_fpn"
"train.steps" = 5000
train.bf16 = true
train.learning_rate = 0.02
train.milestones = [0.5, 0.75]
[output]
uri = "s3://bucket/jobs"
kms_key = "alias/key"
compression = "none"
[checkpoints]
uri = "s3://bucket/checkpoints"
path = "/opt/ml/checkpoints"
[stopping]
max_runtime_s = 3600
max_pending_s = 7200
[spot]
enabled = true
max_wait_s = 7200
[environment]
NCCL_DEBUG = "INFO"
THREADS = 4
[vpc]
subnets = ["subnet-1", "subnet-2"]
security_groups = ["sg-1"]
encrypt_traffic = true
isolate = true
[tags]
project = "x"
[profiler]
uri = "s3://bucket/profiler"
interval_ms = 500
enabled = true
)";

TEST(JobFile, says_everything_about_a_job) {
  const auto parsed = parse_job_file(kWhole, "job.toml");
  ASSERT_TRUE(parsed.has_value()) << parsed.error().to_string();
  const JobFile& job = *parsed;
  EXPECT_EQ(job.name, "coco-r50");
  EXPECT_EQ(job.region, "eu-central-1");
  EXPECT_EQ(job.retries, 3);
  EXPECT_EQ(job.instances.count, 2);
  EXPECT_EQ(job.instances.keep_alive_s, 600);
  ASSERT_EQ(job.channels.size(), 3U);
  EXPECT_EQ(job.channels[0].name, "fsx");
  ASSERT_TRUE(job.channels[0].file_system.has_value());
  EXPECT_TRUE(job.channels[0].file_system->is_lustre);
  EXPECT_EQ(job.channels[0].file_system->directory, "/abcdefgh/coco");
  EXPECT_EQ(job.channels[0].local_source(), "/mnt/fsx/coco");
  EXPECT_EQ(job.channels[1].mode, DataMode::kFastFile);
  EXPECT_EQ(job.channels[1].local_source(), "s3://bucket/coco");
  EXPECT_TRUE(job.channels[1].sharded);
  ASSERT_TRUE(job.channels[2].file_system.has_value());
  EXPECT_FALSE(job.channels[2].file_system->is_lustre);
  EXPECT_THAT(job.hyperparameters,
              ElementsAre(Pair("preset", "r50_fpn"),
                          Pair("train.bf16", "true"),
                          Pair("train.learning_rate", "0.02"),
                          Pair("train.milestones", "[0.5,0.75]"),
                          Pair("train.steps", "5000")));
  EXPECT_THAT(job.environment, ElementsAre(Pair("NCCL_DEBUG", "INFO"), Pair("THREADS", "4")));
  EXPECT_FALSE(job.output.compressed);
  EXPECT_EQ(job.spot.max_wait_s, 7200);
  EXPECT_THAT(job.vpc.subnets, ElementsAre("subnet-1", "subnet-2"));
  EXPECT_EQ(job.profiler.interval_ms, 500);
}

TEST(JobFile, has_defaults_for_all_that_it_does_not_say) {
  const auto job = parse_job_file("name = \"a\"", "job.toml");
  ASSERT_TRUE(job.has_value());
  EXPECT_EQ(job->instances.count, 1);
  EXPECT_EQ(job->stopping.max_runtime_s, 86400);
  EXPECT_TRUE(job->output.compressed);
  EXPECT_TRUE(job->profiler.enabled);
  EXPECT_FALSE(job->spot.enabled);
  EXPECT_TRUE(job->channels.empty());
}

TEST(JobFile, names_the_line_and_the_nearest_key_where_one_is_mistyped) {
  EXPECT_THAT(
      refusal("name = \"a\"\nimagee = \"b\""),
      AllOf(HasSubstr("job.toml:2:1: unknown key imagee"), HasSubstr("did you mean image?")));
  EXPECT_THAT(
      refusal("[instances]\ncuont = 2"),
      AllOf(HasSubstr("unknown key instances.cuont"), HasSubstr("did you mean instances.count?")));
  EXPECT_THAT(refusal("[channels.train]\nurl = \"x\""),
              AllOf(HasSubstr("unknown key channels.train.url"),
                    HasSubstr("did you mean channels.train.uri?")));
  EXPECT_THAT(refusal("[chanels.train]\nuri = \"x\""), HasSubstr("did you mean channels?"));
}

TEST(JobFile, refuses_values_of_another_type) {
  EXPECT_THAT(refusal("name = 3"), HasSubstr("name must be a text in quotes"));
  EXPECT_THAT(refusal("[instances]\ncount = \"2\""), HasSubstr("must be a whole number"));
  EXPECT_THAT(refusal("[instances]\ncount = 2.0"), HasSubstr("must be a whole number"));
  EXPECT_THAT(refusal("[spot]\nenabled = 1"), HasSubstr("must be true or false"));
  EXPECT_THAT(refusal("[vpc]\nsubnets = \"a\""), HasSubstr("must be a list of texts"));
  EXPECT_THAT(refusal("[vpc]\nsubnets = [1]"), HasSubstr("must be a list of texts"));
  EXPECT_THAT(refusal("instances = 3"), HasSubstr("is a section"));
  EXPECT_THAT(refusal("[channels]\ntrain = \"s3://b\""), HasSubstr("channels.train is no section"));
  EXPECT_THAT(refusal("[channels.train]\nmode = \"Fast\""),
              HasSubstr("must be \"File\", \"FastFile\", \"Pipe\" or \"InPlace\""));
  EXPECT_THAT(refusal("[hyperparameters]\nwhen = 2026-01-01"), HasSubstr("must be a text"));
  EXPECT_THAT(refusal("[hyperparameters]\nrate = nan"), HasSubstr("must be a text"));
  EXPECT_THAT(refusal("[environment]\nA = [1]"), HasSubstr("must be a text"));
  EXPECT_THAT(refusal("[environment]\nA = \"x\\u0000y\""), HasSubstr("holds a NUL"));
}

TEST(JobFile, refuses_a_channel_with_two_sources_or_with_half_of_one) {
  EXPECT_THAT(refusal("[channels.a]\nuri = \"s3://b\"\nfsx = \"fs-1\""),
              HasSubstr("fsx and uri exclude each other"));
  EXPECT_THAT(refusal("[channels.a]\nefs = \"fs-1\"\nfsx = \"fs-1\""),
              HasSubstr("fsx and efs exclude each other"));
  EXPECT_THAT(refusal("[channels.a]\nuri = \"s3://b\"\ndirectory = \"/x\""),
              HasSubstr("belongs to fsx or efs"));
}

TEST(JobFile, refuses_a_hyperparameter_that_is_there_both_ways) {
  EXPECT_THAT(refusal("[hyperparameters]\n\"train.steps\" = 1\ntrain.steps = 2"),
              HasSubstr("hyperparameters.train.steps is there twice"));
}

TEST(JobFile, that_is_no_toml_is_refused_with_its_place) {
  EXPECT_THAT(refusal("name = \"a\"\nimage = "), HasSubstr("job.toml:2:"));
  EXPECT_THAT(refusal(std::string(2 << 20, '#')), HasSubstr("larger"));
}

std::vector<std::string> documented_keys() {
  std::stringstream text;
  text << std::ifstream(ATOLL_SOURCE_DIR "/docs/jobs.md").rdbuf();
  std::vector<std::string> keys;
  for (std::string line; std::getline(text, line);) {
    constexpr std::string_view kRow = "| `";
    if (!line.starts_with(kRow)) continue;
    const std::string key = line.substr(kRow.size(), line.find('`', kRow.size()) - kRow.size());
    // Those of the table of modes begin with capitals.
    if (std::islower(static_cast<unsigned char>(key.front())) != 0) keys.push_back(key);
  }
  return keys;
}

// A date is of no key's type: a known key is refused for that, and an unknown one for what it is.
TEST(JobFile, knows_every_key_of_the_documentation) {
  const auto keys = documented_keys();
  EXPECT_GT(keys.size(), 30);
  for (std::string key : keys) {
    if (const size_t name = key.find("NAME"); name != std::string::npos) key.replace(name, 4, "x");
    const std::string why = refusal(key + " = 1979-05-27");
    EXPECT_THAT(why, Not(HasSubstr("unknown"))) << key;
    EXPECT_THAT(why, HasSubstr(key.substr(0, key.find('.')))) << key;
  }
  EXPECT_THAT(refusal("instances.size = 1979-05-27"), HasSubstr("unknown"));
}

TEST(JobFile, has_no_key_that_the_documentation_has_not) {
  const auto keys = documented_keys();
  std::istringstream text{std::string(kWhole)};
  std::string section;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with('[')) {
      section = line.substr(1, line.find(']') - 1) + ".";
      if (section.starts_with("channels.")) section = "channels.NAME.";
    } else if (const size_t equals = line.find(" = "); equals != std::string::npos) {
      const bool free =
          section == "hyperparameters." || section == "environment." || section == "tags.";
      EXPECT_THAT(keys, Contains(section + (free ? "NAME" : line.substr(0, equals))));
    }
  }
}

}  // namespace
}  // namespace atl::sagemaker
