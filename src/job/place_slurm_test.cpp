#include <gtest/gtest.h>

#include "job/place_fixture.h"

namespace atl::job {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// srun -N 2 -n 3, Slurm 23.11: what a task finds, the third one.
const Surroundings kStep{{{"SLURM_CLUSTER_NAME", "hpc"},
                          {"SLURM_CPUS_ON_NODE", "8"},
                          {"SLURM_DISTRIBUTION", "block"},
                          {"SLURM_GTIDS", "2"},
                          {"SLURM_JOBID", "258187"},
                          {"SLURM_JOB_ID", "258187"},
                          {"SLURM_JOB_NODELIST", "gpu[026-028]"},
                          {"SLURM_JOB_NUM_NODES", "3"},
                          {"SLURM_LAUNCH_NODE_IPADDR", "172.21.103.15"},
                          {"SLURM_LOCALID", "0"},
                          {"SLURM_NNODES", "2"},
                          {"SLURM_NODEID", "1"},
                          {"SLURM_NODELIST", "gpu[026-028]"},
                          {"SLURM_NPROCS", "3"},
                          {"SLURM_NTASKS", "3"},
                          {"SLURM_PROCID", "2"},
                          {"SLURM_SRUN_COMM_HOST", "172.21.103.15"},
                          {"SLURM_STEPID", "0"},
                          {"SLURM_STEP_ID", "0"},
                          {"SLURM_STEP_NODELIST", "gpu[026,028]"},
                          {"SLURM_STEP_NUM_NODES", "2"},
                          {"SLURM_STEP_NUM_TASKS", "3"},
                          {"SLURM_STEP_TASKS_PER_NODE", "2,1"},
                          {"SLURM_TASKS_PER_NODE", "2(x3)"},
                          {"SLURMD_NODENAME", "gpu028"}},
                         {}};

// The script of sbatch --ntasks-per-node=4 -N 4: slurmstepd gives it a SLURM_PROCID, too.
const Surroundings kBatchScript{{{"SLURM_JOB_ID", "200505"},
                                 {"SLURM_JOB_NODELIST", "gnode[10,20,25,37]"},
                                 {"SLURM_JOB_NUM_NODES", "4"},
                                 {"SLURM_NNODES", "4"},
                                 {"SLURM_NTASKS", "16"},
                                 {"SLURM_NTASKS_PER_NODE", "4"},
                                 {"SLURM_TASKS_PER_NODE", "4(x4)"},
                                 {"SLURM_NODEID", "0"},
                                 {"SLURM_PROCID", "0"},
                                 {"SLURM_LOCALID", "0"},
                                 {"SLURM_GTIDS", "0"},
                                 {"SLURM_TASK_PID", "16360"}},
                                {}};

// The shell of salloc with LaunchParameters=use_interactive_step and PMIx.
const Surroundings kInteractiveStep{{{"SLURM_JOB_ID", "1884900"},
                                     {"SLURM_JOB_NODELIST", "gpuc960"},
                                     {"SLURM_JOB_NUM_NODES", "1"},
                                     {"SLURM_LOCALID", "0"},
                                     {"SLURM_MPI_TYPE", "pmix"},
                                     {"SLURM_NNODES", "1"},
                                     {"SLURM_NODEID", "0"},
                                     {"SLURM_PROCID", "0"},
                                     {"SLURM_STEP_ID", "4294967290"},
                                     {"SLURM_STEP_NODELIST", "gpuc960"},
                                     {"SLURM_STEP_NUM_NODES", "1"},
                                     {"SLURM_STEP_NUM_TASKS", "1"},
                                     {"SLURM_STEP_TASKS_PER_NODE", "1"},
                                     {"SLURM_TASKS_PER_NODE", "8"},
                                     {"PMIX_RANK", "0"},
                                     {"PMIX_NAMESPACE", "slurm.pmix.20071329.0"}},
                                    {}};

// srun -N 4 --ntasks-per-node=1, the last task.
const Surroundings kTaskForEachNode{{{"SLURM_JOB_ID", "476"},
                                     {"SLURM_STEP_ID", "1"},
                                     {"SLURM_PROCID", "3"},
                                     {"SLURM_LOCALID", "0"},
                                     {"SLURM_NODEID", "3"},
                                     {"SLURM_STEP_NUM_TASKS", "4"},
                                     {"SLURM_STEP_NUM_NODES", "4"},
                                     {"SLURM_STEP_TASKS_PER_NODE", "1(x4)"},
                                     {"SLURM_STEP_NODELIST", "r[1-2]n[1-2]"}},
                                    {}};

TEST(Slurm, a_task_of_a_step_on_two_nodes) {
  const auto place = kStep.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->source, "Slurm job 258187, step 0");
  EXPECT_EQ(place->size, 3);
  EXPECT_EQ(place->rank, 2);
  EXPECT_EQ(place->local_rank, 0);
  EXPECT_EQ(place->local_size, 1);
  EXPECT_EQ(place->nodes, 2);
  EXPECT_EQ(place->node, 1);
  EXPECT_EQ(place->master_host, "gpu026");  // of the step, not of the job
}

TEST(Slurm, older_versions_that_set_nothing_for_the_step_are_read_too) {
  Surroundings old = kStep;
  for (const char* name : {"SLURM_STEP_NODELIST",
                           "SLURM_STEP_NUM_NODES",
                           "SLURM_STEP_NUM_TASKS",
                           "SLURM_STEP_TASKS_PER_NODE",
                           "SLURM_STEP_ID",
                           "SLURM_JOB_ID",
                           "SLURM_JOB_NODELIST",
                           "SLURM_JOB_NUM_NODES"}) {
    old.variables.erase(name);
  }
  old.variables["SLURM_TASKS_PER_NODE"] = "2,1";
  old.variables["SLURM_NODELIST"] = "adev[2,8]";
  const auto place = old.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->size, 3);
  EXPECT_EQ(place->master_host, "adev2");
}

TEST(Slurm, neighbouring_jobs_and_steps_have_different_ports) {
  const int port = kStep.find()->master_port;
  EXPECT_NE(kStep.with("SLURM_STEP_ID", "1").find()->master_port, port);
  EXPECT_NE(kStep.with("SLURM_JOB_ID", "258188").find()->master_port, port);
  EXPECT_EQ(kStep.with("SLURM_PROCID", "0").find()->master_port, port);
}

TEST(Slurm, a_step_of_one_task_is_one_process) {
  const auto place = Surroundings{
      {{"SLURM_JOB_ID", "476"},
       {"SLURM_STEP_ID", "0"},
       {"SLURM_PROCID", "0"},
       {"SLURM_NTASKS", "1"},
       {"SLURM_STEP_NUM_TASKS", "1"},
       {"SLURM_JOB_NUM_NODES", "1"}},
      {}}.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->size, 1);
  EXPECT_EQ(place->local_rank, 0);
  EXPECT_EQ(place->note, "");
}

TEST(Slurm, the_script_of_sbatch_is_one_process_and_is_told_so) {
  const auto place = kBatchScript.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->size, 1);
  EXPECT_THAT(place->note, AllOf(HasSubstr("Slurm job 200505 has several"), HasSubstr("srun")));
}

TEST(Slurm, the_shell_of_salloc_is_one_process) {
  const auto step = kInteractiveStep.find();
  ASSERT_TRUE(step) << error_of(step);
  EXPECT_EQ(step->size, 1);
  EXPECT_EQ(step->note, "");
  const auto shell = Surroundings{
      {{"SLURM_JOB_ID", "476"},
       {"SLURM_NNODES", "2"},
       {"SLURM_JOB_NODELIST", "cn[1-2]"},
       {"SLURM_NTASKS", "4"}},
      {}}.find();
  ASSERT_TRUE(shell) << error_of(shell);
  EXPECT_EQ(shell->size, 1);
  EXPECT_THAT(shell->note, HasSubstr("srun"));
}

TEST(Slurm, ranks_set_by_hand_in_a_batch_script_are_believed) {
  const auto place =
      kBatchScript.with("RANK", "1").with("WORLD_SIZE", "2").with("MASTER_ADDR", "gnode10").find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->rank, 1);
}

TEST(Slurm, one_task_for_each_node_can_start_the_ranks_of_its_node) {
  const auto task = kTaskForEachNode.find();
  ASSERT_TRUE(task) << error_of(task);
  EXPECT_EQ(task->rank, 3);
  EXPECT_EQ(task->master_host, "r1n1");
  const auto place = kTaskForEachNode.find({8, {}, {}, ""});
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->rank, 24);
  EXPECT_EQ(place->size, 32);
  EXPECT_EQ(place->local_rank, std::nullopt);
  EXPECT_THAT(
      error_of(kStep.with("SLURM_NODEID", "0").with("SLURM_PROCID", "0").find({8, {}, {}, ""})),
      HasSubstr("has started 2 processes on this host already"));
  EXPECT_EQ(kBatchScript.find({8, {}, {}, ""})->size, 8);
}

TEST(Slurm, what_is_missing_or_wrong_is_named) {
  for (const char* name : {"SLURM_NODEID", "SLURM_LOCALID"}) {
    EXPECT_THAT(error_of(kTaskForEachNode.without(name).find()),
                HasSubstr(std::string(name) + " is not set"));
  }
  EXPECT_THAT(error_of(kTaskForEachNode.with("SLURM_PROCID", "4").find()),
              HasSubstr("SLURM_PROCID=\"4\" is not a whole number from 0 to 3"));
  EXPECT_THAT(error_of(kTaskForEachNode.with("SLURM_NODEID", "4").find()),
              HasSubstr("SLURM_NODEID=\"4\""));
  EXPECT_THAT(error_of(kTaskForEachNode.with("SLURM_LOCALID", "1").find()),
              HasSubstr("SLURM_LOCALID=\"1\""));
  EXPECT_THAT(error_of(kTaskForEachNode.with("SLURM_STEP_NODELIST", "r[1-2]").find()),
              HasSubstr("SLURM_STEP_NODELIST=\"r[1-2]\" names 2 hosts, not 4"));
  EXPECT_THAT(error_of(kTaskForEachNode.with("SLURM_STEP_NODELIST", "r[1-").find()),
              HasSubstr("SLURM_STEP_NODELIST: \"r[1-\": a bracket is not closed"));
  EXPECT_THAT(error_of(kTaskForEachNode.with("SLURM_STEP_TASKS_PER_NODE", "2(x4)").find()),
              HasSubstr("is not for 4 tasks on 4 nodes"));
  EXPECT_THAT(error_of(kTaskForEachNode.with("SLURM_STEP_TASKS_PER_NODE", "1(x3)").find()),
              HasSubstr("is not for 4 tasks on 4 nodes"));
  EXPECT_THAT(error_of(kTaskForEachNode.with("SLURM_HET_SIZE", "2").find()),
              HasSubstr("heterogeneous"));
}

}  // namespace
}  // namespace atl::job
