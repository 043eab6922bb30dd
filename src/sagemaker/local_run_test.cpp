// Jobs whose program is a small shell script: what the hosts find, what becomes of what they leave, and every way to end. What
// happens when is decided by lines and files, never by time.
#include "sagemaker/local_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <mutex>
#include <nlohmann/json.hpp>

#include "sagemaker/archive.h"
#include "sagemaker/local_jobs.h"
#include "sagemaker/temporary_folder.h"
#include "storage/local_store.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;
using Json = nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class LocalRunTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.job.file = "job.toml";
    options_.job.name = "job";
    options_.job.output.uri = (folder_.path() / "bucket").string();
    options_.root = folder_.path() / "jobs/job";
    options_.region = "eu-central-1";
    options_.environment = {
        "PATH=/usr/bin:/bin", "RANK=3", "MASTER_ADDR=elsewhere", "AWS_PROFILE=p"};
    options_.entered = [this](const Transition& transition) {
      states_.push_back(transition.status);
    };
    options_.on_line = [this](size_t host, OutputStream stream, std::string_view line) {
      // A shell whose sleep is ended by a signal may say so on its standard error.
      auto& lines = stream == OutputStream::kOut ? lines_ : errors_;
      lines.push_back(std::to_string(host) + ": " + std::string(line));
      if (on_line_) on_line_(line);
    };
    options_.note = [this](std::string_view text) { notes_.emplace_back(text); };
  }

  // What each host runs; $R is its /opt/ml.
  void set_program(const std::string& script) {
    const auto file = folder_.write("train", "#!/bin/sh\nR=$ATOLL_SAGEMAKER_ROOT\n" + script);
    ASSERT_EQ(::chmod(file.c_str(), 0755), 0);
    options_.program = {file.string()};
  }

  JobRecord run() {
    states_.clear();
    auto job = run_locally(options_);
    EXPECT_TRUE(job.has_value()) << job.error().to_string();
    return job ? *job : JobRecord();
  }

  // A file of the uploaded archive.
  std::string uploaded(const std::string& archive, const std::string& name) {
    storage::LocalStore bucket((folder_.path() / "bucket").string());
    const auto bytes = bucket.get("job/output/" + archive);
    if (!bytes) return bytes.error().to_string();
    const TemporaryFolder unpacked;
    const auto names = unpack_archive(*bytes, archive, unpacked.path());
    if (!names) return names.error().to_string();
    return unpacked.read(name);
  }

  Json config(int host, const char* name) {
    return Json::parse(
        folder_.read("jobs/job/algo-" + std::to_string(host) + "/opt/ml/input/config/" + name));
  }

  const TemporaryFolder folder_;
  LocalRunOptions options_;
  std::vector<std::string> states_;
  std::vector<std::string> lines_;  // of standard output
  std::vector<std::string> errors_;
  std::vector<std::string> notes_;
  std::function<void(std::string_view)> on_line_;
};

TEST_F(LocalRunTest, goes_from_channels_to_an_uploaded_model) {
  folder_.write("data/a.jpg", "picture");
  JobChannel channel;
  channel.name = "train";
  channel.uri = (folder_.path() / "data").string();
  options_.job.channels = {channel};
  options_.job.hyperparameters = {{"train.steps", "5"}};
  set_program(
      "cat $R/input/data/train/a.jpg > $R/model/model.safetensors\n"
      "echo numbers > $R/output/data/eval.json\n"
      "echo trained; echo warning >&2\n");
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Completed") << job.failure_reason;
  EXPECT_THAT(states_,
              ElementsAre("Starting", "Downloading", "Training", "Uploading", "Completed"));
  EXPECT_THAT(lines_, ElementsAre("0: trained"));
  EXPECT_THAT(errors_, ElementsAre("0: warning"));
  EXPECT_EQ(uploaded("model.tar.gz", "model.safetensors"), "picture");
  EXPECT_EQ(uploaded("output.tar.gz", "eval.json"), "numbers\n");
  EXPECT_EQ(job.model, (folder_.path() / "bucket/job/output/model.tar.gz").string());
  EXPECT_THAT(folder_.read("jobs/job/logs/algo-1.log"),
              AllOf(HasSubstr("trained\n"), HasSubstr("warning\n")));
  EXPECT_EQ(config(1, "hyperparameters.json"), (Json{{"train.steps", "5"}}));
  EXPECT_EQ(config(1, "inputdataconfig.json").at("train").at("TrainingInputMode"), "File");
  const Json written = Json::parse(folder_.read("jobs/job/job.json"));
  EXPECT_EQ(written.at("TrainingJobStatus"), "Completed");
  EXPECT_EQ(written.at("SecondaryStatusTransitions").size(), 5U);
}

TEST_F(LocalRunTest, gives_every_host_its_own_world) {
  options_.job.instances.count = 2;
  options_.job.instances.type = "ml.m5.large";
  options_.job.environment = {{"OWN", "value"}};
  set_program(
      "echo $TRAINING_JOB_NAME $AWS_REGION $OWN $AWS_PROFILE rank=$RANK master=$MASTER_ADDR\n"
      "echo $R > $R/model/$(basename $(dirname $(dirname $R)))\n");
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Completed") << job.failure_reason;
  const std::string said = "job eu-central-1 value p rank= master=";
  EXPECT_THAT(lines_, testing::UnorderedElementsAre("0: " + said, "1: " + said));
  EXPECT_THAT(uploaded("model.tar.gz", "algo-1"), HasSubstr("jobs/job/algo-1/opt/ml"));
  EXPECT_THAT(uploaded("model.tar.gz", "algo-2"), HasSubstr("jobs/job/algo-2/opt/ml"));
  const Json second = config(2, "resourceconfig.json");
  EXPECT_EQ(second.at("current_host"), "127.0.0.2");
  EXPECT_EQ(second.at("hosts"), (Json::array({"127.0.0.1", "127.0.0.2"})));
  EXPECT_EQ(second.at("network_interface_name"), "lo");
  EXPECT_EQ(second.at("instance_groups").at(0).at("instance_type"), "ml.m5.large");
}

TEST_F(LocalRunTest, shares_gpus_out_among_hosts) {
  options_.job.instances.count = 2;
  options_.accelerators = 4;
  options_.environment.emplace_back("CUDA_VISIBLE_DEVICES=7,5,3,1");
  set_program("echo $CUDA_VISIBLE_DEVICES\n");
  run();
  EXPECT_THAT(lines_, testing::UnorderedElementsAre("0: 7,5", "1: 3,1"));
}

TEST_F(LocalRunTest, that_is_interrupted_goes_on_from_its_checkpoints) {
  options_.job.checkpoints.uri = (folder_.path() / "checkpoints").string();
  set_program(
      "C=$R/checkpoints/step\n"
      "if [ -f $C ]; then echo resumed at $(cat $C); cat $C > $R/model/m; exit 0; fi\n"
      "trap 'echo 7 > '$C'; exit 143' TERM\n"
      "echo garbage > $R/model/left\n"
      "echo ready\n"
      "while true; do sleep 0.05; done\n");
  options_.interrupt_at = [](std::string_view line) { return line == "ready"; };
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Completed") << job.failure_reason;
  EXPECT_THAT(
      states_,
      ElementsAre(
          "Starting", "Training", "Interrupted", "Starting", "Training", "Uploading", "Completed"));
  EXPECT_THAT(lines_, ElementsAre("0: ready", "0: resumed at 7"));
  EXPECT_EQ(folder_.read("checkpoints/step"), "7\n");
  EXPECT_EQ(uploaded("model.tar.gz", "m"), "7\n");
  EXPECT_EQ(uploaded("model.tar.gz", "left"), "");  // a new instance has an empty disk
}

TEST_F(LocalRunTest, that_is_interrupted_without_a_place_for_checkpoints_begins_again) {
  set_program("if [ -f '" + (folder_.path() / "once").string() +
              "' ]; then\n"
              "  ls $R/checkpoints | wc -l; exit 0\nfi\n"
              "touch $R/checkpoints/lost '" +
              (folder_.path() / "once").string() +
              "'\n"
              "echo ready; while true; do sleep 0.05; done\n");
  options_.interrupt_at = [](std::string_view line) { return line == "ready"; };
  EXPECT_EQ(run().status, "Completed");
  EXPECT_THAT(lines_, ElementsAre("0: ready", "0: 0"));
}

TEST_F(LocalRunTest, fails_with_what_the_program_has_left_for_a_reason) {
  options_.job.instances.count = 2;
  set_program(
      "case $R in *algo-2*) echo 'no data' > $R/output/failure; exit 3;; esac\n"
      "trap 'echo told to end; exit 0' TERM\n"
      "while true; do sleep 0.05; done\n");
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Failed");
  EXPECT_EQ(job.failure_reason, "no data; algo-2 ended with exit code 3");
  EXPECT_FALSE(stdfs::exists(folder_.path() / "bucket/job/output/model.tar.gz"));
}

TEST_F(LocalRunTest, fails_with_its_last_words_where_there_is_no_reason) {
  set_program("echo one >&2; echo 'atoll: out of memory' >&2; kill -9 $$\n");
  EXPECT_EQ(run().failure_reason, "atoll: out of memory; algo-1 ended with exit code 137");
}

TEST_F(LocalRunTest, that_is_stopped_uploads_what_there_is) {
  std::stop_source stop;
  options_.stop = stop.get_token();
  on_line_ = [&](std::string_view line) {
    if (line == "ready") stop.request_stop();
  };
  set_program(
      "trap 'echo so far > '$R'/model/m; exit 143' TERM\n"
      "echo ready; while true; do sleep 0.05; done\n");
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Stopped");
  EXPECT_THAT(states_, ElementsAre("Starting", "Training", "Stopping", "Uploading", "Stopped"));
  EXPECT_EQ(uploaded("model.tar.gz", "m"), "so far\n");
}

TEST_F(LocalRunTest, kills_a_program_that_does_not_listen) {
  std::stop_source stop;
  options_.stop = stop.get_token();
  options_.grace = std::chrono::milliseconds(0);
  on_line_ = [&](std::string_view line) {
    if (line == "ready") stop.request_stop();
  };
  set_program("trap '' TERM\necho ready; while true; do sleep 0.05; done\n");
  EXPECT_EQ(run().status, "Stopped");
}

TEST_F(LocalRunTest, ends_when_its_time_is_over) {
  options_.job.stopping.max_runtime_s = 0;  // the least that validation allows is 1
  set_program("trap 'exit 143' TERM\nwhile true; do sleep 0.05; done\n");
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Stopped");
  EXPECT_EQ(job.secondary, "MaxRuntimeExceeded");
}

TEST_F(LocalRunTest, keeps_the_model_where_the_bucket_refuses_it) {
  class RefusingStore : public storage::LocalStore {
   public:
    using LocalStore::LocalStore;
    Result<void> put(std::string_view, std::span<const std::span<const std::byte>>) override {
      return atl::fail(ErrorCode::kPermission, "PUT s3://b/x: 403 AccessDenied");
    }
  };
  bool refuses = true;
  options_.open_store =
      [&](const std::string& uri) -> Result<std::unique_ptr<storage::ObjectStore>> {
    if (refuses) return std::make_unique<RefusingStore>(uri);
    return std::make_unique<storage::LocalStore>(uri);
  };
  set_program("echo weights > $R/model/m\n");
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Failed");
  EXPECT_THAT(job.failure_reason,
              AllOf(HasSubstr("uploading model.tar.gz"),
                    HasSubstr("403 AccessDenied"),
                    HasSubstr("\"atoll job upload job --jobs " +
                              (folder_.path() / "jobs").string() + "\"")));
  const auto there = read_local_job(options_.root);
  ASSERT_TRUE(there.has_value() && there->has_value());
  // To another place, it is that place which is tried again.
  const auto elsewhere =
      upload_archives(options_.root, **there, options_.open_store, "s3://b/my jobs");
  ASSERT_FALSE(elsewhere.has_value());
  EXPECT_THAT(elsewhere.error().to_string(),
              HasSubstr("\"atoll job upload job --jobs " + (folder_.path() / "jobs").string() +
                        " --to 's3://b/my jobs'\""));
  // Which then does it.
  refuses = false;
  const auto model = upload_archives(options_.root, **there, options_.open_store);
  ASSERT_TRUE(model.has_value()) << model.error().to_string();
  EXPECT_EQ(uploaded("model.tar.gz", "m"), "weights\n");
}

TEST_F(LocalRunTest, stays_in_its_folder_where_no_output_is_named) {
  options_.job.output.uri.clear();
  set_program("echo weights > $R/model/m\n");
  EXPECT_EQ(run().model, (folder_.path() / "jobs/job/output/model.tar.gz").string());
}

TEST_F(LocalRunTest, says_that_there_is_no_model) {
  set_program("exit 0\n");
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Completed");
  EXPECT_EQ(job.model, "");
  EXPECT_THAT(notes_, Contains(HasSubstr("there is no model.tar.gz")));
}

TEST_F(LocalRunTest, takes_the_place_of_another_job_only_when_told_to) {
  set_program("echo once > $R/model/m\n");
  run();
  EXPECT_EQ(run_locally(options_).error().code, ErrorCode::kConflict);
  options_.replace = true;
  EXPECT_EQ(run().status, "Completed");
}

TEST_F(LocalRunTest, does_not_take_the_place_of_one_that_runs) {
  set_program("echo ready\n");
  options_.replace = true;
  std::optional<Result<JobRecord>> second;
  on_line_ = [&](std::string_view) {
    LocalRunOptions other = options_;
    other.on_line = nullptr;
    other.entered = nullptr;
    other.note = nullptr;
    second = run_locally(other);
  };
  EXPECT_EQ(run().status, "Completed");
  ASSERT_TRUE(second.has_value());
  EXPECT_THAT(second->error().to_string(),
              AllOf(HasSubstr("a job runs in"),
                    HasSubstr("\"atoll job stop job --jobs " + (folder_.path() / "jobs").string() +
                              "\" stops it")));
}

TEST(JobCommand, names_the_folder_of_jobs_where_it_is_not_the_usual_one) {
  EXPECT_EQ(job_command("stop", "runs/jobs/first"), "atoll job stop first");
  EXPECT_EQ(job_command("stop", stdfs::absolute("runs/jobs/first")), "atoll job stop first");
  EXPECT_EQ(job_command("upload", "/my jobs/./first"), "atoll job upload first --jobs '/my jobs'");
  EXPECT_EQ(job_command("upload", "elsewhere/first"),
            "atoll job upload first --jobs " + stdfs::absolute("elsewhere").string());
}

TEST_F(LocalRunTest, fails_before_training_where_the_data_is_not_there) {
  JobChannel channel;
  channel.name = "train";
  channel.uri = (folder_.path() / "none").string();
  options_.job.channels = {channel};
  set_program("exit 0\n");
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Failed");
  EXPECT_THAT(job.failure_reason, HasSubstr("channel train: "));
  EXPECT_THAT(states_, ElementsAre("Starting", "Downloading", "Failed"));
}

TEST_F(LocalRunTest, fails_where_the_program_cannot_be_started) {
  options_.program = {(folder_.path() / "none").string()};
  const JobRecord job = run();
  EXPECT_EQ(job.status, "Failed");
  EXPECT_THAT(job.failure_reason, HasSubstr("No such file"));
}

TEST_F(LocalRunTest, links_to_a_file_system_that_is_mounted) {
  folder_.write("mnt/coco/a.jpg", "picture");
  JobChannel channel;
  channel.name = "train";
  channel.file_system = FileSystemSource{"fs-01234567", true, "/abcdefgh/coco", "ro"};
  channel.local = (folder_.path() / "mnt/coco").string();
  options_.job.channels = {channel};
  set_program("cat $R/input/data/train/a.jpg\n");
  EXPECT_EQ(run().status, "Completed");
  EXPECT_THAT(lines_, ElementsAre("0: picture"));
}

TEST_F(LocalRunTest, mounts_a_bucket_for_as_long_as_the_job_runs) {
  JobChannel channel;
  channel.name = "train";
  channel.uri = "s3://bucket/coco";
  channel.mode = DataMode::kFastFile;
  options_.job.channels = {channel};
  set_program("cat $R/input/data/train/a.jpg\n");
  EXPECT_THAT(run().failure_reason, HasSubstr("nothing can be mounted"));
  std::string mounted;
  bool unmounted = false;
  options_.replace = true;
  options_.mount = [&](const std::string& uri, const stdfs::path& folder) -> Result<Mount> {
    mounted = uri;
    std::ofstream(folder / "a.jpg") << "picture\n";
    return Mount(static_cast<const void*>(nullptr), [&](const void*) { unmounted = true; });
  };
  EXPECT_EQ(run().status, "Completed");
  EXPECT_EQ(mounted, "s3://bucket/coco");
  EXPECT_TRUE(unmounted);
  EXPECT_THAT(lines_, ElementsAre("0: picture"));
}

TEST_F(LocalRunTest, gives_every_host_its_pipes_for_every_epoch) {
  for (const char* name : {"a", "b", "c"}) folder_.write(std::string("data/") + name, name);
  JobChannel all;
  all.name = "train";
  all.uri = (folder_.path() / "data").string();
  all.mode = DataMode::kPipe;
  JobChannel parts = all;
  parts.name = "parts";
  parts.sharded = true;
  JobChannel unread = all;
  unread.name = "unread";
  options_.job.channels = {all, parts, unread};
  options_.job.instances.count = 2;
  set_program(
      "I=$R/input/data\n"
      "for epoch in 0 1; do echo $(cat $I/train_$epoch) $(cat $I/parts_$epoch); done\n");
  EXPECT_EQ(run().status, "Completed");
  EXPECT_THAT(lines_,
              testing::UnorderedElementsAre("0: abc ac", "0: abc ac", "1: abc b", "1: abc b"));
  const Json config = this->config(1, "inputdataconfig.json");
  EXPECT_EQ(config.at("train").at("TrainingInputMode"), "Pipe");
  EXPECT_EQ(config.at("parts").at("S3DistributionType"), "ShardedByS3Key");
}

TEST_F(LocalRunTest, begins_a_pipe_anew_after_an_interruption) {
  folder_.write("data/a", std::string(1 << 20, 'x'));
  JobChannel channel;
  channel.name = "train";
  channel.uri = (folder_.path() / "data").string();
  channel.mode = DataMode::kPipe;
  options_.job.channels = {channel};
  // Taken away after a part of the first epoch.
  set_program(
      "echo $(head -c 3 $R/input/data/train_0)\n"
      "if mkdir '" +
      (folder_.path() / "once").string() +
      "'; then echo ready; while true; do sleep 0.05; done; fi\n"
      "cat $R/input/data/train_1 | wc -c\n");
  options_.interrupt_at = [](std::string_view line) { return line == "ready"; };
  EXPECT_EQ(run().status, "Completed");
  EXPECT_THAT(lines_, ElementsAre("0: xxx", "0: ready", "0: xxx", "0: 1048576"));
}

TEST_F(LocalRunTest, reads_in_place_by_the_hyperparameter) {
  JobChannel channel;
  channel.name = "train";
  channel.uri = "s3://bucket/coco";
  channel.mode = DataMode::kInPlace;
  options_.job.channels = {channel};
  set_program("exit 0\n");
  EXPECT_EQ(run().status, "Completed");
  EXPECT_EQ(config(1, "hyperparameters.json"), (Json{{"data.path", "s3://bucket/coco"}}));
  EXPECT_EQ(config(1, "inputdataconfig.json"), Json::object());
}

TEST_F(LocalRunTest, whose_process_has_died_is_failed) {
  LocalJob job;
  job.record.name = "job";
  job.record.status = "InProgress";
  job.record.secondary = "Training";
  job.process = "nonsense";
  stdfs::create_directories(options_.root);
  ASSERT_TRUE(write_local_job(options_.root, job).has_value());
  const auto read = read_local_job(options_.root);
  ASSERT_TRUE(read.has_value() && read->has_value());
  EXPECT_EQ((*read)->record.status, "Failed");
  EXPECT_THAT((*read)->record.failure_reason, HasSubstr("has died"));
  EXPECT_EQ(stop_local_job(**read).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(read_local_job(folder_.path() / "none")->has_value());
}

}  // namespace
}  // namespace atl::sagemaker
