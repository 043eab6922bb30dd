// A training container from outside: folders as SageMaker makes them, and the program as it starts it. Two hosts are two
// processes with a root each, who find each other as hosts without a name service do, by MASTER_ADDR.
#include "cli/container.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fstream>
#include <regex>
#include <thread>

#include "base/unique_fd.h"
#include "cli/program_fixture.h"
#include "job/agent_channel.h"
#include "job/launch.h"
#include "sagemaker/metric_definitions.h"

namespace atl::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// A network and a training that take a second, in the words of a job's request.
constexpr const char* kSmall =
    R"("preset": "\"tiny\"", "device": "cpu", "threads": "1", "data.threads": "1",
       "model.min_size_px": "64", "model.max_size_px": "64", "model.stem_width": "8",
       "model.fpn_channels": "16", "model.rpn_post_nms_top_n_train": "50",
       "model.rpn_post_nms_top_n_test": "20", "model.box_head_channels": "32",
       "model.box_batch_per_image": "16", "model.detections_per_image": "10",
       "model.mask_conv_channels": "[8]", "model.mask_deconv_channels": "8")";

class Container : public ProgramInFolder {
 protected:
  Container() {
    fs::create_directories(folder_ / "bin");
    fs::create_symlink(ATOLL_BINARY_DIR "/bin/atoll", folder_ / "bin/train");
  }
  void SetUp() override {
    if (!fs::exists(ATOLL_BINARY_DIR "/bin/atoll-engine"))
      GTEST_SKIP() << "this build has no engine";
  }

  fs::path root(const std::string& host = "algo-1") const { return folder_ / "hosts" / host; }
  static void write(const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
  }
  // What SageMaker writes for a host.
  void write_host(const std::string& host,
                  const std::string& hyperparameters,
                  const std::string& hosts = R"("algo-1")") const {
    const fs::path config = root(host) / "input/config";
    write(config / "hyperparameters.json", fmt::format("{{{}}}", hyperparameters));
    write(
        config / "resourceconfig.json",
        fmt::format(
            R"({{"current_host":"{}","hosts":[{}],"network_interface_name":"lo"}})", host, hosts));
    fs::create_directories(root(host) / "input/data");
  }
  void write_channels(const std::string& host, const std::string& channels) const {
    write(root(host) / "input/config/inputdataconfig.json", fmt::format("{{{}}}", channels));
  }
  void make_channel(const std::string& name, const std::string& host = "algo-1") {
    if (!fs::exists(folder_ / "data")) {
      ASSERT_EQ(run("synth --out data --images 8 --val-images 2 --size 64").exit_code, 0);
    }
    fs::create_directories(root(host) / "input/data");
    fs::create_directory_symlink(folder_ / "data", root(host) / "input/data" / name);
  }
  Outcome start(const std::string& host = "algo-1",
                const std::string& variables = "",
                const std::string& program = "bin/train") {
    return run_program(
        fmt::format("env -i PATH=\"$PATH\" HOME={} ATOLL_SAGEMAKER_ROOT={} {} {}",
                    folder_.string(),
                    root(host).string(),
                    variables,
                    program.starts_with('/') ? program : (folder_ / program).string()),
        "",
        folder_);
  }
  std::string text(const std::string& file, const std::string& host = "algo-1") const {
    return contents(root(host) / file);
  }
};

std::string training(int steps) {
  return fmt::format(R"({}, "train.steps": "{}", "train.global_batch": "2")", kSmall, steps);
}

TEST_F(Container, trains_on_a_channel_and_leaves_everything_where_sagemaker_looks) {
  write_host("algo-1", training(3));
  write_channels("algo-1", R"("training": {"TrainingInputMode": "FastFile"})");
  make_channel("training");
  const auto outcome = start();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("SageMaker training: host algo-1 of 1 host, 1 rank on each"),
                    HasSubstr("channel training ("),
                    HasSubstr("FastFile")));
  for (const char* file : {"model/model.safetensors",
                           "model/config.toml",
                           "output/data/eval.json",
                           "output/data/metrics.jsonl",
                           "output/data/trace.json",
                           "checkpoints/algo-1/run/model.safetensors"}) {
    EXPECT_FALSE(text(file).empty()) << file;
  }
  EXPECT_FALSE(fs::is_empty(root() / "output/data/pictures"));
  EXPECT_FALSE(fs::exists(root() / "output/failure"));
  // The model is one that predicts.
  const auto predicted = run(fmt::format("eval --weights {} --data data --device cpu",
                                         (root() / "model/model.safetensors").string()));
  EXPECT_EQ(predicted.exit_code, 0) << predicted.err;

  // After an interruption the checkpoints are restored and nothing else: there is nothing left to do.
  fs::remove_all(root() / "model");
  fs::remove_all(root() / "output");
  const auto again = start();
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("going on after step 3 of 3"));
  EXPECT_FALSE(text("model/model.safetensors").empty());
}

TEST_F(Container, every_metric_definition_matches_what_a_run_prints) {
  write_host("algo-1", training(3));
  make_channel("training");
  const auto outcome = start();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const auto& definition : sagemaker::metric_definitions()) {
    const std::regex regex(definition.regex);
    std::vector<std::string> found;
    for (const std::string& output : {outcome.out, outcome.err}) {
      std::istringstream lines(output);
      std::smatch match;
      for (std::string line; std::getline(lines, line);) {
        if (std::regex_search(line, match, regex)) found.push_back(match[1]);
      }
    }
    // Of the share of waiting only where there was some; progress_bar_test.cpp has a line with everything.
    if (found.empty() && std::string(definition.name) == "train:data_wait_percent") continue;
    ASSERT_FALSE(found.empty()) << definition.name << "\n" << outcome.err << outcome.out;
    for (const std::string& number : found) {
      size_t used = 0;
      EXPECT_NO_THROW(std::stod(number, &used)) << definition.name << ": " << number;
      EXPECT_EQ(used, number.size()) << definition.name << ": " << number;
    }
  }
}

// The command of the lab: its names, its TFRecords, its paths.
TEST_F(Container, runs_the_command_of_the_lab) {
  ASSERT_EQ(run("synth --out data --images 8 --val-images 2 --size 64").exit_code, 0);
  write_host("algo-1", std::string(kSmall) + R"(,
      "mode": "train_and_eval", "init_learning_rate": "0.004", "learning_rate_steps": "\"2,5000\"",
      "total_steps": "4", "train_batch_size": "2", "eval_batch_size": "8", "num_steps_per_eval": "2",
      "eval_samples": "1", "amp": "True", "xla": "True", "use_batched_nms": "True", "seed": "987",
      "checkpoint": "", "model_dir": "/opt/ml/model",
      "training_file_pattern": "/opt/ml/input/data/train/train-*.tfrecord",
      "validation_file_pattern": "/opt/ml/input/data/train/val-*.tfrecord",
      "val_json_file": "/opt/ml/input/data/train/annotations/instances_val2017.json",
      "sagemaker_region": "\"us-east-1\"")");
  write_channels("algo-1", R"("train": {"TrainingInputMode": "File"})");
  const fs::path records = root() / "input/data/train";
  const auto converted = run("data convert --data data --out tfrecord:" + records.string());
  ASSERT_EQ(converted.exit_code, 0) << converted.err;
  const auto outcome = start();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("train_batch_size is of each of 1 rank: 2 images a step"),
                    HasSubstr("learning_rate_steps 5000 lies behind the last step, 4"),
                    HasSubstr("passed over, for SageMaker's own containers: sagemaker_region"),
                    HasSubstr("8 training images, 1 for validation"),
                    HasSubstr("learning rate 0.004, warm-up 2 steps"),
                    HasSubstr("times 0.1 at steps 2"),
                    HasSubstr("step 2: bbox AP"),
                    HasSubstr("step 4: bbox AP")));
  const std::string config = text("model/config.toml");
  EXPECT_THAT(config, AllOf(HasSubstr("bf16 = true"), HasSubstr("seed = 987")));
  EXPECT_FALSE(text("model/model.safetensors").empty());

  // Its mode eval, on what came of it: by the first host alone, which waits for nobody.
  write_host("algo-1",
             R"("mode": "eval", "device": "cpu", "threads": "1", "eval_batch_size": "2",
      "checkpoint": "/opt/ml/model/model.safetensors",
      "validation_file_pattern": "/opt/ml/input/data/train/val-*.tfrecord")",
             R"("algo-1", "algo-2")");
  fs::remove_all(root() / "output");
  const auto evaluated = start();
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.err;
  EXPECT_FALSE(text("output/data/eval.json").empty());

  // Its mode train evaluates nothing.
  write_host("algo-1", std::string(kSmall) + R"(, "mode": "train", "total_steps": "1",
      "train_batch_size": "2", "training_file_pattern": "/opt/ml/input/data/train/train-*.tfrecord",
      "model_dir": "")");
  fs::remove_all(root() / "checkpoints");
  fs::remove_all(root() / "output");
  const auto trained = start();
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.out, Not(HasSubstr("bbox AP")));
  EXPECT_FALSE(fs::exists(root() / "output/data/eval.json"));
}

TEST_F(Container, pictures_and_annotations_may_be_channels_of_their_own) {
  ASSERT_EQ(run("synth --out data --images 8 --val-images 2 --size 64").exit_code, 0);
  write_host("algo-1", training(1));
  write_channels("algo-1",
                 R"("train": {"TrainingInputMode": "FastFile"},
                    "validation": {"TrainingInputMode": "FastFile"},
                    "annotations": {"TrainingInputMode": "File"})");
  fs::rename(folder_ / "data/train2017", root() / "input/data/train");
  fs::rename(folder_ / "data/val2017", root() / "input/data/validation");
  fs::rename(folder_ / "data/annotations", root() / "input/data/annotations");
  const auto outcome = start();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("8 training images, 2 for validation"));
}

TEST_F(Container, a_pipe_is_read_to_disk_and_trained_on) {
  ASSERT_EQ(run("synth --out data --images 8 --val-images 2 --size 64").exit_code, 0);
  ASSERT_EQ(run("data convert --data data --out tfrecord:records --shards 2").exit_code, 0);
  write_host("algo-1", training(1));
  write_channels("algo-1",
                 R"("train": {"TrainingInputMode": "Pipe", "RecordWrapperType": "None"},
                    "validation": {"TrainingInputMode": "Pipe", "RecordWrapperType": "None"})");
  const fs::path data = root() / "input/data";
  ASSERT_EQ(::mkfifo((data / "train_0").c_str(), S_IRUSR | S_IWUSR), 0);
  ASSERT_EQ(::mkfifo((data / "validation_0").c_str(), S_IRUSR | S_IWUSR), 0);
  std::thread agent([&] {
    for (const char* const command :
         {"cat records/train-*.tfrecord >", "cat records/val-*.tfrecord >"}) {
      const bool train = std::string_view(command).find("train-") != std::string_view::npos;
      const std::string line = fmt::format("cd {} && {} {}",
                                           folder_.string(),
                                           command,
                                           (data / (train ? "train_0" : "validation_0")).string());
      EXPECT_EQ(::pclose(::popen(line.c_str(), "r")), 0);
    }
  });
  const auto outcome = start("algo-1", "TMPDIR=" + folder_.string());
  agent.join();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(HasSubstr("channel train: "), HasSubstr("8 training images, 2 for validation")));
  for (const auto& entry : fs::directory_iterator(folder_)) {
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("atoll-pipe")));
  }
}

class TwoHosts : public Container {
 protected:
  std::string meeting() const { return fmt::format("MASTER_ADDR=127.0.0.1 MASTER_PORT={}", port_); }

  const uint16_t port_ = job::listen_anywhere().value().port;
};

TEST_F(TwoHosts, train_one_model_that_the_first_writes) {
  Outcome outcomes[2];
  for (const char* host : {"algo-1", "algo-2"}) {
    write_host(host, training(2), R"("algo-2", "algo-1")");
    make_channel("training", host);
  }
  std::thread second([&] { outcomes[1] = start("algo-2", meeting()); });
  outcomes[0] = start("algo-1", meeting());
  second.join();
  ASSERT_EQ(outcomes[0].exit_code, 0) << outcomes[0].err << outcomes[1].err;
  EXPECT_EQ(outcomes[1].exit_code, 0) << outcomes[1].err;
  EXPECT_THAT(outcomes[0].out, HasSubstr("host algo-1 of 2 hosts"));
  EXPECT_THAT(outcomes[0].err, HasSubstr("2 ranks on 2 hosts"));
  EXPECT_FALSE(text("model/model.safetensors", "algo-1").empty());
  EXPECT_FALSE(text("checkpoints/algo-1/run/config.toml", "algo-1").empty());
  for (const char* folder : {"model", "checkpoints", "output"}) {
    EXPECT_FALSE(fs::exists(root("algo-2") / folder)) << folder;
  }
}

TEST_F(TwoHosts, one_that_never_comes_is_named) {
  write_host("algo-1", training(2), R"("algo-1", "algo-2")");
  make_channel("training");
  const auto outcome = start("algo-1", meeting() + " ATOLL_JOIN_TIMEOUT=2");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(text("output/failure"),
              AllOf(HasSubstr("1 of 2 ranks had not come to 127.0.0.1:"),
                    HasSubstr("after 2 s: rank 1 (algo-2)"),
                    HasSubstr("(see whether they were started")));
}

TEST_F(TwoHosts, a_port_that_is_taken_is_named) {
  const UniqueFd other(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 everywhere{};
  everywhere.sin6_family = AF_INET6;
  everywhere.sin6_port = htons(port_);
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<sockaddr*>(&everywhere), sizeof everywhere), 0);
  ASSERT_EQ(::listen(other.get(), 1), 0);
  write_host("algo-1", training(2), R"("algo-1", "algo-2")");
  make_channel("training");
  const auto outcome = start("algo-1", meeting());
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(text("output/failure"),
              AllOf(HasSubstr(fmt::format("rank 0 cannot listen on port {}", port_)),
                    HasSubstr("another job may use it")));
}

TEST_F(Container, a_failure_is_written_in_a_thousand_characters_that_say_what_to_do) {
  write_host("algo-1", training(2));
  write_channels("algo-1", R"("training": {"TrainingInputMode": "File"})");
  EXPECT_EQ(start().exit_code, 2);
  EXPECT_THAT(
      text("output/failure"),
      AllOf(HasSubstr("channel training ("), HasSubstr("see that the channel's S3 prefix")));

  // Of a rank it is its own words.
  make_channel("training");
  fs::remove(folder_ / "data/annotations/instances_train2017.json");
  write(folder_ / "data/annotations/instances_train2017.json", "{\"images\": [}");
  const auto outcome = start();
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(text("output/failure"), HasSubstr("instances_train2017.json"));
  EXPECT_LE(text("output/failure").size(), 1024U);
  EXPECT_FALSE(fs::exists(root() / "model"));
}

TEST_F(Container, unknown_names_and_hosts_end_a_job_before_anything_is_read) {
  write_host("algo-1", R"("total_step": "5")");
  EXPECT_EQ(start().exit_code, 2);
  EXPECT_EQ(text("output/failure"),
            "unknown hyperparameter total_step (did you mean total_steps?)");
  write_host("algo-1", R"("train.stps": "5", "data.path": "nowhere")");
  EXPECT_EQ(start().exit_code, 2);
  EXPECT_EQ(text("output/failure"),
            "--set train.stps=5: unknown key train.stps (did you mean train.steps?)");
  write_host("algo-1", "");
  write_channels("algo-1", R"("model": {"TrainingInputMode": "Pipe"})");
  EXPECT_EQ(start().exit_code, 1);
  EXPECT_THAT(text("output/failure"), HasSubstr("channel model is in Pipe mode"));
  write_host("algo-3", "", R"("algo-1", "algo-2")");
  EXPECT_EQ(start("algo-3").exit_code, 2);
  EXPECT_THAT(text("output/failure", "algo-3"), HasSubstr("algo-3 is not among the 2 \"hosts\""));
}

TEST_F(Container, only_a_container_is_started_as_one) {
  // By the name with arguments it is the command; "atoll train" without a contract wants its options.
  const auto version = run_program(folder_ / "bin/train", "--print-config --preset tiny", folder_);
  EXPECT_EQ(version.exit_code, 0) << version.err;
  EXPECT_THAT(version.out, HasSubstr("preset = \"tiny\""));
  const auto alone = start("algo-1", "", "bin/train");
  EXPECT_EQ(alone.exit_code, 2);
  EXPECT_THAT(alone.err, HasSubstr("resourceconfig.json is not there"));
  const std::string atoll = ATOLL_BINARY_DIR "/bin/atoll train";
  EXPECT_THAT(start("algo-1", "", atoll).err, HasSubstr("--out"));
  write_host("algo-1", R"("steps": "many")");
  EXPECT_THAT(start("algo-1", "", atoll).err, HasSubstr("hyperparameter steps = \"many\""));
  EXPECT_THAT(start("algo-1", "", atoll + " --preset tiny").err, HasSubstr("--out"));
}

TEST_F(Container, a_stop_leaves_a_checkpoint_and_the_model_so_far) {
  write_host("algo-1", training(100'000));
  make_channel("training");
  // Its own log tells when it is at work.
  const std::string command = fmt::format(
      "cd {} && env -i PATH=\"$PATH\" HOME=/tmp ATOLL_SAGEMAKER_ROOT={} sh -c 'echo $$; exec "
      "bin/train' "
      "</dev/null 2>&1",
      folder_.string(),
      root().string());
  FILE* const output = ::popen(command.c_str(), "r");
  ASSERT_NE(output, nullptr);
  std::string all;
  pid_t pid = 0;
  char line[4096];
  while (std::fgets(line, sizeof line, output) != nullptr) {
    if (pid == 0) pid = static_cast<pid_t>(std::stol(line));
    all += line;
    if (std::string_view(line).starts_with("first step done")) ::kill(pid, SIGTERM);
  }
  const int status = ::pclose(output);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 143) << all;
  EXPECT_THAT(all,
              AllOf(ContainsRegex("stopped after step [0-9]+ of 100000"),
                    HasSubstr("the model as it was when the job was stopped")));
  EXPECT_FALSE(text("model/model.safetensors").empty());
  EXPECT_FALSE(fs::is_empty(root() / "checkpoints/algo-1/run/checkpoints"));
  EXPECT_FALSE(fs::exists(root() / "output/failure"));
}

}  // namespace
}  // namespace atl::cli
