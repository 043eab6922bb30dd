// `atoll launch` as its users meet it; what the launcher does is tested in job/launch_test.cpp.
#include <gmock/gmock.h>

#include "cli/program_fixture.h"

namespace atl::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class LaunchCommand : public ProgramInFolder {
 protected:
  // Not as a part of whatever job these tests run in.
  Outcome launch(const std::string& arguments, const std::string& variables = "") {
    return run_program("env -i PATH=\"$PATH\" " + variables + " " ATOLL_BINARY_DIR "/bin/atoll",
                       "launch " + arguments,
                       folder_);
  }
};

TEST_F(LaunchCommand, it_runs_commands_of_this_program) {
  const auto outcome = launch("-n 2 -- --version");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("\n"), HasSubstr("[1] atoll ")));
  EXPECT_THAT(outcome.err, IsEmpty());
}

TEST_F(LaunchCommand, or_any_program) {
  const auto outcome = launch("-n 2 --exec -- sh -c 'echo $RANK of $WORLD_SIZE'");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("0 of 2\n"), HasSubstr("[1] 1 of 2\n")));
}

TEST_F(LaunchCommand, the_arguments_of_what_is_launched_are_not_its_own) {
  const auto outcome = launch("--exec -- sh -c 'echo \"$0/$1/$2/$3\"' -n --nodes '' --");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, "-n/--nodes//--\n");
}

TEST_F(LaunchCommand, bad_usage_of_what_is_launched_is_bad_usage) {
  const auto outcome = launch("-n 2 -- trian");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("unknown command \"trian\" (did you mean train?"));
  EXPECT_THAT(outcome.err, ::testing::ContainsRegex("atoll: rank [01] on .* ended with code 2\n$"));
}

TEST_F(LaunchCommand, forgotten_dashes_are_told) {
  const auto outcome = launch("-n 2 train --preset tiny");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err,
              HasSubstr("unknown option --preset (did you mean to put -- before train?"));
  EXPECT_THAT(launch("--exec sh -c true").err,
              HasSubstr("unknown option -c (did you mean to put -- before sh?"));
}

TEST_F(LaunchCommand, wrong_options_are_told) {
  EXPECT_THAT(launch("-n 2").err, HasSubstr("atoll: COMMAND is required"));
  EXPECT_THAT(launch("-n 0 -- train").err, HasSubstr("\"0\" is not a whole number from 1 on"));
  EXPECT_THAT(launch("--nodes 2 -- train").err, HasSubstr("--nodes is given without --node"));
  EXPECT_THAT(launch("--nodes 2 --node 1 -- train").err, HasSubstr("need --rendezvous HOST:PORT"));
  EXPECT_THAT(launch("--bind some -- train").err, HasSubstr("--bind"));
  EXPECT_THAT(launch("--grace -1 -- train").err, HasSubstr("--grace is not a number of seconds"));
  EXPECT_THAT(launch("--grace nan -- train").err, HasSubstr("--grace"));
  EXPECT_EQ(launch("--grace nan -- train").exit_code, 2);
  EXPECT_THAT(launch("--nods 2 -- train").err,
              HasSubstr("unknown option --nods (did you mean --nodes?"));
  const auto missing = launch("--exec -- /no/such/program");
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("running /no/such/program: No such file or directory"));
}

TEST_F(LaunchCommand, wrong_options_of_a_job_that_goes_on_are_told) {
  const auto error_of = [&](const std::string& arguments) {
    const auto outcome = launch(arguments + " -- --version");
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    return outcome.err;
  };
  EXPECT_THAT(error_of("--nnodes 4:3"), HasSubstr("--nnodes 4:3 is not MIN:MAX"));
  EXPECT_THAT(error_of("--nnodes two"), HasSubstr("--nnodes two is not MIN:MAX"));
  EXPECT_THAT(error_of("--nnodes 2:3"), HasSubstr("several hosts need --rendezvous-dir"));
  EXPECT_THAT(error_of("--nnodes 1 --rendezvous-dir d"), HasSubstr("is for several hosts"));
  EXPECT_THAT(error_of("--rendezvous-dir d"), HasSubstr("say how many with --nnodes"));
  EXPECT_THAT(error_of("--nnodes 2 --rendezvous-dir d --nodes 2 --node 0 --rendezvous a:1"),
              HasSubstr("give the one or the other"));
  EXPECT_THAT(error_of("--max-restarts 1 --nodes 2 --node 0 --rendezvous a:1"),
              HasSubstr("--max-restarts for 2 hosts needs --nnodes"));
  EXPECT_THAT(error_of("--nnodes 1 --silence 0"), HasSubstr("--silence is not a number"));
  EXPECT_THAT(error_of("--nnodes 1 --join-timeout nan"), HasSubstr("--join-timeout is not"));
}

TEST_F(LaunchCommand, a_host_by_itself_starts_its_ranks_again) {
  const auto outcome =
      launch("--max-restarts 2 --exec -- sh -c 'echo x >>rounds; test $(wc -l <rounds) = 3'");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("atoll: round 3: 1 host, 1 rank; rank 0 on "));
  EXPECT_EQ(launch("--nnodes 1 --max-restarts 0 --exec -- sh -c 'exit 7'").exit_code, 7);
}

TEST_F(LaunchCommand, it_takes_its_place_among_the_hosts) {
  const std::string show = " --exec -- sh -c 'echo $RANK/$WORLD_SIZE $MASTER_ADDR:$MASTER_PORT'";
  EXPECT_EQ(launch("--nodes 2 --node 1 --rendezvous a:4000" + show).out, "[1] 1/2 a:4000\n");
  const auto slurm = launch("-n 2" + show,
                            "SLURM_JOB_ID=476 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_LOCALID=0 "
                            "SLURM_NODEID=1 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NUM_NODES=2 "
                            "SLURM_STEP_TASKS_PER_NODE='1(x2)' SLURM_STEP_NODELIST='gpu[07-08]'");
  EXPECT_THAT(slurm.out, AllOf(HasSubstr("[2] 2/4 gpu07:24760\n"), HasSubstr("[3] 3/4 gpu07:")));
}

TEST_F(LaunchCommand, a_batch_script_without_srun_is_told_what_it_leaves_idle) {
  const auto outcome = launch("-- --version", "SLURM_JOB_ID=476 SLURM_JOB_NUM_NODES=4");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("start it with srun"));
}

TEST_F(LaunchCommand, ranks_do_not_launch_ranks) {
  const auto outcome = launch("-n 2 -- launch -n 2 -- --version");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("atoll launch has started 2 processes on this host already"));
}

TEST_F(LaunchCommand, two_ranks_train_one_model) {
  if (!std::filesystem::exists(ATOLL_BINARY_DIR "/bin/atoll-engine")) {
    GTEST_SKIP() << "this build has no engine";
  }
  ASSERT_EQ(run("synth --out data --images 8 --val-images 2 --size 64").exit_code, 0);
  const auto outcome =
      launch("-n 2 -- train --preset tiny --data data --out run --steps 2 --batch 4");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("2 ranks on 1 host, by atoll launch"));
  EXPECT_THAT(outcome.err + outcome.out, Not(HasSubstr("[1]")));
  const std::string metrics = contents(folder_ / "run/metrics.jsonl");
  EXPECT_THAT(metrics, AllOf(HasSubstr("\"step\":1"), HasSubstr("\"step\":2")));
  EXPECT_FALSE(contents(folder_ / "run/model.safetensors").empty());
  const auto restarted = launch(
      "-n 2 --max-restarts 1 -- train --preset tiny --data data --out other --steps 2 --batch 4");
  EXPECT_EQ(restarted.exit_code, 0) << restarted.err;
  EXPECT_EQ(contents(folder_ / "other/model.safetensors"),
            contents(folder_ / "run/model.safetensors"));
  // A job that one process is to do alone is not begun by one of two.
  const auto alone = run_program(
      "env -i PATH=\"$PATH\" PET_NNODES=1 PET_NPROC_PER_NODE=2 " ATOLL_BINARY_DIR "/bin/atoll",
      "train --preset tiny --data data --out alone --steps 2",
      folder_);
  EXPECT_EQ(alone.exit_code, 2);
  EXPECT_THAT(alone.err, HasSubstr("put \"launch --\" before train"));
}

// Refused before anything is read: that the model is not there is told only to who may go on.
TEST_F(LaunchCommand, evaluating_and_predicting_are_for_one_process) {
  if (!std::filesystem::exists(ATOLL_BINARY_DIR "/bin/atoll-engine")) {
    GTEST_SKIP() << "this build has no engine";
  }
  const std::string evaluate = "eval --weights none.tar.gz --data none --out out";
  const std::string predict = "predict --weights none.tar.gz --out out none.jpg";
  const auto as_task = [&](const std::string& variables, const std::string& arguments) {
    return run_program("env -i PATH=\"$PATH\" " + variables + " " ATOLL_BINARY_DIR "/bin/atoll",
                       arguments,
                       folder_);
  };
  const auto launched = launch("-n 2 -- " + evaluate);
  EXPECT_EQ(launched.exit_code, 2);
  EXPECT_THAT(launched.err,
              AllOf(HasSubstr("eval is for one process, and this is one of 2, by atoll launch"),
                    HasSubstr("(run it as one process: train evaluates over all ranks")));
  const std::string other_job = "RANK=1 WORLD_SIZE=2 MASTER_ADDR=a";
  const auto ranked = as_task(other_job, predict);
  EXPECT_EQ(ranked.exit_code, 2);
  EXPECT_THAT(ranked.err, HasSubstr("predict is for one process, and this is one of 2, by RANK"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));

  const auto goes_on = AllOf(HasSubstr("reading the model"), Not(HasSubstr("is for one process")));
  EXPECT_THAT(launch("--nodes 1 -n 1 -- " + evaluate, other_job).err, goes_on);
  EXPECT_THAT(
      as_task("SLURM_JOB_ID=476 SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_NTASKS=1", evaluate).err,
      goes_on);
  // The shell of an allocation, and a container whose one process could start two ranks.
  const auto shell = as_task("SLURM_JOB_ID=476 SLURM_NTASKS=4 SLURM_JOB_NUM_NODES=2", evaluate);
  EXPECT_THAT(shell.err, AllOf(goes_on, Not(HasSubstr("srun"))));
  EXPECT_THAT(as_task("PET_NNODES=1 PET_NPROC_PER_NODE=2", evaluate).err, goes_on);
  const auto half = as_task("RANK=0", evaluate);
  EXPECT_THAT(half.err,
              AllOf(goes_on, HasSubstr("WORLD_SIZE is not set; eval runs as one process")));
}

TEST_F(LaunchCommand, one_rank_draws_the_bar_for_all) {
  const auto outcome = launch("-n 2 --exec -- sh -c '" ATOLL_BINARY_DIR
                              "/bin/atoll synth --out $RANK --images 3 --size 32'");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("synth "), Not(HasSubstr("[1]"))));
  EXPECT_THAT(outcome.out, HasSubstr("[1] "));
}

}  // namespace
}  // namespace atl::cli
