// The programs as their users meet them (run from here), and the command line in this process with
// an engine that only records.
#include "cli/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <new>

#include "cli/command.h"
#include "cli/program_fixture.h"

namespace atl::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class FakeEngine : public Engine {
 public:
  using Job = std::function<Result<int>(CommandContext&)>;

  Result<int> train(const TrainArguments& arguments, CommandContext& context) override {
    trained = arguments;
    return job(context);
  }
  Result<int> evaluate(const train::EvaluateOptions& options, CommandContext& context) override {
    evaluated = options;
    return job(context);
  }
  Result<int> predict(const train::PredictOptions& options, CommandContext& context) override {
    predicted = options;
    return job(context);
  }

  std::optional<TrainArguments> trained;
  std::optional<train::EvaluateOptions> evaluated;
  std::optional<train::PredictOptions> predicted;
  Job job = [](CommandContext&) { return 0; };
};

const fs::path kAtoll = fs::path(ATOLL_BINARY_DIR) / "bin/atoll";

Outcome atoll(const std::string& arguments) { return run_program(kAtoll, arguments); }

MATCHER(IsOneLine, "") {
  return std::count(arg.begin(), arg.end(), '\n') == 1 && arg.back() == '\n';
}

TEST(Program, help_goes_to_standard_output_and_shows_every_command) {
  for (const char* flag : {"--help", "-h"}) {
    const Outcome outcome = atoll(flag);
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_THAT(outcome.out,
                AllOf(HasSubstr("\n  train "), HasSubstr("\n  eval "), HasSubstr("\n  predict ")));
    EXPECT_THAT(outcome.err, IsEmpty());
  }
}

// "train", "data stats": those that do something.
void collect_leaves(const CLI::App& command,
                    const std::string& name,
                    std::vector<std::string>& to) {
  const auto inner = command.get_subcommands([](const CLI::App*) { return true; });
  if (inner.empty()) to.push_back(name);
  for (const CLI::App* next : inner) {
    collect_leaves(*next, name + (name.empty() ? "" : " ") + next->get_name(), to);
  }
}

TEST(Program, every_command_has_a_help_with_examples) {
  CLI::App app;
  FakeEngine engine;
  CommandContext context(engine);
  add_commands(app, context);
  std::vector<std::string> commands;
  collect_leaves(app, "", commands);
  EXPECT_GE(commands.size(), 3);
  for (const std::string& command : commands) {
    const Outcome outcome = atoll(command + " --help");
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("Usage: atoll " + command));
    EXPECT_THAT(outcome.out, HasSubstr("Examples:\n  ")) << command;
    EXPECT_THAT(outcome.out, HasSubstr("  atoll " + command)) << command;
  }
}

TEST(Program, the_version_is_the_projects) {
  const Outcome outcome = atoll("--version");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, AllOf(StartsWith("atoll "), IsOneLine()));
}

TEST(Program, without_a_command_the_help_is_shown_as_an_error) {
  const Outcome outcome = atoll("");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, HasSubstr("Usage: atoll"));
}

TEST(Program, bad_usage_is_one_line_that_names_the_word_and_the_nearest_right_one) {
  const std::pair<const char*, const char*> cases[] = {
      {"trian", "unknown command \"trian\" (did you mean train? \"atoll --help\""},
      {"frobnicate", "unknown command \"frobnicate\" (\"atoll --help\""},
      {"--verson", "unknown option --verson (did you mean --version? "},
      {"train --stpes 3", "unknown option --stpes (did you mean --steps? \"atoll train --help\""},
      {"train --train.steps=3", "(did you mean --set train.steps=VALUE? "},
      {"train --stpes=3", "unknown option --stpes (did you mean --steps? "},
      // The missing --data is a consequence of the typo, which is what must be told.
      {"eval --weigths w --dat d", "unknown option --weigths (did you mean --weights? "},
      {"eval --weights w", "--data is required (see \"atoll eval --help\")"},
      {"eval --data d", "neither --weights nor --run says what to measure"},
      {"eval --weights w --data d --follow", "--follow requires --run"},
      {"eval --run r --follow --out o", "--follow excludes --out"},
      {"eval --run r --limit-images 3",
       "--annotations, --images and --limit-images go with --data"},
      {"train surplus", "unexpected argument \"surplus\" (\"atoll train --help\""},
      {"data stats /",
       "unexpected argument \"/\" (did you mean --data /? \"atoll data stats --help\""},
      {"train --steps many", "--steps: \"many\" is not a whole number from 0 on"},
      {"train --steps 99999999999999999999", "is not a whole number from 0 on"},
      {"train --batch 0", "--batch: \"0\" is not a whole number from 1 on"},
      {"predict --weights w --out o", "inputs is required"},
      {"predict --weights w --out o --score-threshold 2 x.jpg", "--score-threshold: "},
      {"train --data", "--data: "}};
  for (const auto& [arguments, expected] : cases) {
    const Outcome outcome = atoll(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_THAT(outcome.out, IsEmpty()) << arguments;
    EXPECT_THAT(outcome.err, AllOf(StartsWith("atoll: "), IsOneLine(), HasSubstr(expected)));
  }
}

TEST(Program, output_that_cannot_be_written_is_a_failure) {
  const int status = ::system((kAtoll.string() + " --help >/dev/full 2>/dev/null").c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST(Program, jobs_run_in_the_engine_beside_it_with_the_same_arguments) {
  const TemporaryDirectory directory;
  const fs::path copy = directory.path() / "atoll", engine = directory.path() / "atoll-engine";
  fs::copy_file(kAtoll, copy);
  std::ofstream(engine) << "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 7\n";
  fs::permissions(engine, fs::perms::owner_all);
  const TemporaryDirectory elsewhere;
  fs::create_symlink(copy, elsewhere.path() / "linked");
  for (const fs::path& program : {copy, elsewhere.path() / "linked"}) {
    const Outcome outcome = run_program(program, "train --data 'with space' --steps 3");
    EXPECT_EQ(outcome.exit_code, 7);
    EXPECT_EQ(outcome.out, "<train><--data><with space><--steps><3>");
  }
  EXPECT_EQ(run_program(copy, "eval --weights w --data d").exit_code, 7);
  EXPECT_EQ(run_program(copy, "predict --weights w --out o x.jpg").exit_code, 7);
}

TEST(Program, a_missing_engine_is_named_with_what_to_do) {
  const TemporaryDirectory directory;
  fs::copy_file(kAtoll, directory.path() / "atoll");
  const Outcome outcome = run_program(directory.path() / "atoll", "train");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err,
              AllOf(IsOneLine(),
                    HasSubstr((directory.path() / "atoll-engine").string() + " is not there"),
                    HasSubstr("ATOLL_WITH_TORCH=ON")));
}

// --- In this process ---

int run_with(Engine& engine, std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "atoll");
  return run_program(static_cast<int>(arguments.size()), arguments.data(), engine);
}

// What run_with wrote to standard error.
std::string complaint_of(FakeEngine& engine, int expected_exit_code) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(run_with(engine, {"train"}), expected_exit_code);
  return ::testing::internal::GetCapturedStderr();
}

TEST(CommandLine, shortcuts_of_train_become_settings_behind_the_written_ones) {
  FakeEngine engine;
  EXPECT_EQ(run_with(engine,
                     {"train",
                      "--steps",
                      "5",
                      "--set",
                      "train.steps=9",
                      "--config",
                      "run.toml",
                      "--data",
                      "a b",
                      "--batch=4",
                      "--out",
                      "\"odd\\\"",
                      "--set",
                      "data.threads=2",
                      "--override",
                      "--seed",
                      "0",
                      "--preset",
                      "tiny",
                      "--checkpoint-every",
                      "2",
                      "--threads",
                      "1",
                      "--device",
                      "cpu",
                      "--weights",
                      "w.safetensors"}),
            0);
  ASSERT_TRUE(engine.trained);
  EXPECT_EQ(engine.trained->config_file, "run.toml");
  EXPECT_TRUE(engine.trained->override_options);
  EXPECT_FALSE(engine.trained->print_config);
  ASSERT_GE(engine.trained->sets.size(), 2);
  EXPECT_EQ(engine.trained->sets[0], "train.steps=9");
  EXPECT_EQ(engine.trained->sets[1], "data.threads=2");
  EXPECT_THAT(
      std::vector<std::string>(engine.trained->sets.begin() + 2, engine.trained->sets.end()),
      ::testing::UnorderedElementsAre("train.steps=5",
                                      "data.path=a b",
                                      "train.global_batch=4",
                                      "out=\"\\\"odd\\\\\\\"\"",
                                      "train.seed=0",
                                      "preset=tiny",
                                      "train.checkpoint_every=2",
                                      "threads=1",
                                      "device=cpu",
                                      "weights=w.safetensors"));
}

TEST(CommandLine, of_a_repeated_shortcut_the_last_one_counts) {
  FakeEngine engine;
  EXPECT_EQ(run_with(engine, {"train", "--steps", "5", "--out", "a", "--steps=7", "--out", "b"}),
            0);
  ASSERT_TRUE(engine.trained);
  EXPECT_THAT(engine.trained->sets, ::testing::UnorderedElementsAre("train.steps=7", "out=b"));
}

TEST(CommandLine, eval_follows_a_run_on_the_run_s_own_data) {
  FakeEngine engine;
  EXPECT_EQ(run_with(engine, {"eval", "--run", "r", "--follow", "--look-every", "3"}), 0);
  ASSERT_TRUE(engine.evaluated);
  EXPECT_EQ(engine.evaluated->run, "r");
  EXPECT_TRUE(engine.evaluated->follow);
  EXPECT_EQ(engine.evaluated->look_every, std::chrono::seconds(3));
  EXPECT_EQ(engine.evaluated->data, "");
  EXPECT_FALSE(engine.evaluated->max_bad_images);  // the run's own
}

TEST(CommandLine, eval_and_predict_hand_their_options_on) {
  FakeEngine engine;
  EXPECT_EQ(run_with(engine,
                     {"eval",
                      "--weights",
                      "w",
                      "--data",
                      "d",
                      "--batch",
                      "3",
                      "--limit-images",
                      "10",
                      "--max-bad-images",
                      "0",
                      "--out",
                      "o",
                      "--device",
                      "cuda",
                      "--threads",
                      "2"}),
            0);
  ASSERT_TRUE(engine.evaluated);
  EXPECT_EQ(engine.evaluated->weights, "w");
  EXPECT_EQ(engine.evaluated->data, "d");
  EXPECT_EQ(engine.evaluated->out, "o");
  EXPECT_EQ(engine.evaluated->device, "cuda");
  EXPECT_EQ(engine.evaluated->batch, 3);
  EXPECT_EQ(engine.evaluated->limit_images, 10);
  EXPECT_EQ(engine.evaluated->max_bad_images, 0);
  EXPECT_EQ(engine.evaluated->threads, 2);
  EXPECT_EQ(run_with(engine,
                     {"predict",
                      "--weights",
                      "w",
                      "--out",
                      "o",
                      "a.jpg",
                      "dir/",
                      "--score-threshold",
                      "0.25"}),
            0);
  ASSERT_TRUE(engine.predicted);
  EXPECT_THAT(engine.predicted->inputs, ElementsAre("a.jpg", "dir/"));
  EXPECT_EQ(engine.predicted->out, "o");
  EXPECT_DOUBLE_EQ(engine.predicted->score_threshold, 0.25);
}

TEST(CommandLine, errors_become_one_line_and_an_exit_code) {
  FakeEngine engine;
  engine.job = [](CommandContext&) { return 5; };
  EXPECT_THAT(complaint_of(engine, 5), IsEmpty());
  engine.job = [](CommandContext&) { return fail(ErrorCode::kIo, "disk full", "free some"); };
  EXPECT_EQ(complaint_of(engine, 1), "atoll: disk full (free some)\n");
  engine.job = [](CommandContext&) { return fail(ErrorCode::kInvalidInput, "no images"); };
  EXPECT_EQ(complaint_of(engine, 2), "atoll: no images\n");
  engine.job = [](CommandContext&) -> Result<int> {
    throw std::runtime_error("shapes differ\nframe #0: at::native::conv\nframe #1");
  };
  EXPECT_EQ(complaint_of(engine, 1), "atoll: unexpected: shapes differ\n");
  engine.job = [](CommandContext&) -> Result<int> { throw std::bad_alloc(); };
  EXPECT_THAT(complaint_of(engine, 1), AllOf(StartsWith("atoll: out of memory"), IsOneLine()));
}

// Returns once the token is stopped.
void wait_for(const std::stop_token& token) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait(lock, token, [] { return false; });
}

TEST(CommandLine, a_signal_asks_the_job_to_stop_and_becomes_the_exit_code) {
  for (const auto& [signal, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    FakeEngine engine;
    engine.job = [signal = signal](CommandContext& context) -> Result<int> {
      const auto stop = context.stop();
      EXPECT_FALSE(stop.stop_requested());
      EXPECT_EQ(context.signal_exit_code(), std::nullopt);
      ::kill(::getpid(), signal);
      wait_for(stop);
      return context.signal_exit_code().value();
    };
    EXPECT_THAT(complaint_of(engine, code), HasSubstr("as soon as nothing is lost"));
    engine.job = [signal = signal](CommandContext& context) -> Result<int> {
      const auto stop = context.stop();
      ::kill(::getpid(), signal);
      wait_for(stop);
      return fail(ErrorCode::kCancelled, "stopped");
    };
    EXPECT_THAT(complaint_of(engine, code), EndsWith("atoll: stopped\n"));
  }
}

TEST(CommandLineDeathTest, the_second_signal_ends_the_program_at_once) {
  const auto twice = [](int first, int second) {
    FakeEngine engine;
    engine.job = [=](CommandContext& context) -> Result<int> {
      const auto stop = context.stop();
      ::kill(::getpid(), first);
      wait_for(stop);
      ::kill(::getpid(), second);
      for (;;) ::pause();
    };
    run_with(engine, {"train"});
  };
  EXPECT_EXIT(twice(SIGINT, SIGINT), ::testing::ExitedWithCode(130), "Ctrl-C again");
  EXPECT_EXIT(twice(SIGINT, SIGTERM), ::testing::ExitedWithCode(143), "");
}

TEST(CommandLineDeathTest, a_command_that_does_not_ask_for_a_stop_dies_of_the_signal) {
  FakeEngine engine;
  engine.job = [](CommandContext&) -> Result<int> {
    ::kill(::getpid(), SIGTERM);
    return 0;
  };
  EXPECT_EXIT(run_with(engine, {"train"}), ::testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace atl::cli
