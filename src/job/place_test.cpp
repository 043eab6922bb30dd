// The order of the launchers, the flags, and the launchers that have no file of their own.
#include "job/place.h"

#include <gtest/gtest.h>

#include "job/place_fixture.h"

namespace atl::job {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// mpirun -np 4 -H node1:2,node2:2 -x MASTER_ADDR of Open MPI 4.1; the third rank.
const Surroundings kOpenMpi4{{{"OMPI_COMM_WORLD_SIZE", "4"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                              {"OMPI_COMM_WORLD_RANK", "2"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                              {"OMPI_COMM_WORLD_NODE_RANK", "0"},
                              {"OMPI_UNIVERSE_SIZE", "4"},
                              {"OMPI_MCA_ess_base_jobid", "3236233217"},
                              {"OMPI_MCA_ess_base_vpid", "2"},
                              {"OMPI_MCA_orte_hnp_uri", "3236233216.0;tcp://172.20.102.82:33559"},
                              {"PMIX_NAMESPACE", "3236233217"},
                              {"PMIX_RANK", "2"},
                              {"MASTER_ADDR", "node1"}},
                             {}};

// mpirun -np 8 of Open MPI 5 on one host.
const Surroundings kOpenMpi5{
    {{"PRTE_LAUNCHED", "1"},
     {"PMIX_NAMESPACE", "prterun-node18-12345@1"},
     {"PMIX_RANK", "3"},
     {"PMIX_SERVER_URI41", "prterun-node18-12345@0.0;tcp4://10.20.30.40:45678"},
     {"OMPI_COMM_WORLD_SIZE", "8"},
     {"OMPI_COMM_WORLD_RANK", "3"},
     {"OMPI_COMM_WORLD_LOCAL_SIZE", "8"},
     {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
     {"OMPI_COMM_WORLD_NODE_RANK", "3"}},
    {}};

const Surroundings kBatch{{{"AWS_BATCH_JOB_ID", "106e00d3-5b8b-4f3e-8e7e-8a2b3cbb8d2d#2"},
                           {"AWS_BATCH_JOB_NUM_NODES", "4"},
                           {"AWS_BATCH_JOB_NODE_INDEX", "2"},
                           {"AWS_BATCH_JOB_MAIN_NODE_INDEX", "0"},
                           {"AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS", "10.0.3.17"},
                           {"AWS_BATCH_JQ_NAME", "gpus"}},
                          {},
                          8};

TEST(Place, a_plain_start_is_one_process) {
  const auto place = Surroundings{}.find();
  ASSERT_TRUE(place);
  EXPECT_EQ(place->size, 1);
  EXPECT_EQ(place->rank, 0);
  EXPECT_EQ(place->local_rank, 0);
  EXPECT_EQ(place->nodes, 1);
  EXPECT_EQ(place->host, "thishost");
  EXPECT_EQ(place->master_host, "127.0.0.1");
  EXPECT_EQ(place->master_port, kDefaultMasterPort);
  EXPECT_FALSE(place->port_is_given);
  EXPECT_EQ(place->note, "");
}

TEST(Place, without_flags_a_process_uses_one_gpu_of_several) {
  const auto place = Surroundings{{}, {}, 8}.find();
  ASSERT_TRUE(place);
  EXPECT_EQ(place->local_size, 1);
  EXPECT_EQ(place->local_rank, 0);
}

TEST(Place, a_host_of_sagemaker_starts_a_rank_for_each_gpu) {
  const auto place = kTwoSageMakerHosts.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->nodes, 2);
  EXPECT_EQ(place->node, 1);
  EXPECT_EQ(place->local_size, 8);
  EXPECT_EQ(place->local_rank, std::nullopt);
  EXPECT_EQ(place->rank, 8);
  EXPECT_EQ(place->size, 16);
  EXPECT_EQ(place->host, "algo-2");
  EXPECT_EQ(place->master_host, "algo-1");  // first of the sorted, not of the list
  EXPECT_EQ(place->network_interface, "eth0");
  EXPECT_GE(place->master_port, 20000);
  EXPECT_LT(place->master_port, 30000);
}

TEST(Place, a_training_job_that_is_tried_out_has_its_files_elsewhere) {
  Surroundings tried = kTwoSageMakerHosts.with("ATOLL_SAGEMAKER_ROOT", "/tmp/job/algo-2");
  tried.files = {{"/tmp/job/algo-2/input/config/resourceconfig.json",
                  R"({"current_host":"algo-2","hosts":["algo-1","algo-2"]})"}};
  const auto place = tried.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->node, 1);
  EXPECT_EQ(place->hosts, (std::vector<std::string>{"algo-1", "algo-2"}));
  // And nothing of the usual place.
  const auto other = kTwoSageMakerHosts.with("ATOLL_SAGEMAKER_ROOT", "/tmp/job/algo-2").find();
  ASSERT_TRUE(other);
  EXPECT_EQ(other->nodes, 1);
}

TEST(Place, a_rank_knows_the_hosts_that_its_launcher_knew) {
  const Surroundings rank{{{"ATOLL_LAUNCHED", "1"},
                           {"RANK", "3"},
                           {"LOCAL_RANK", "1"},
                           {"WORLD_SIZE", "4"},
                           {"LOCAL_WORLD_SIZE", "2"},
                           {"GROUP_RANK", "1"},
                           {"GROUP_WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "algo-1"},
                           {"MASTER_PORT", "20001"}},
                          {}};
  const auto hosts = [&](const char* text) {
    const auto place = rank.with("ATOLL_HOSTS", text).find();
    return place ? place->hosts : std::vector<std::string>{error_of(place)};
  };
  EXPECT_EQ(hosts("algo-1,algo-2"), (std::vector<std::string>{"algo-1", "algo-2"}));
  for (const char* wrong : {"", "algo-1", "algo-1,algo-2,algo-3", "algo-1,a b"}) {
    EXPECT_TRUE(hosts(wrong).empty()) << wrong;
  }
}

TEST(Place, sagemakers_local_mode_without_gpus_is_a_process_for_each_host) {
  Surroundings local;
  local.files[kResourceConfig] =
      R"({"current_host":"algo-1-zipal","hosts":["algo-1-zipal"],"network_interface_name":"eth0",
          "current_instance_type":"local"})";
  const auto place = local.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->size, 1);
  EXPECT_EQ(place->local_rank, 0);
  EXPECT_EQ(place->master_host, "127.0.0.1");
  EXPECT_EQ(place->master_port, kDefaultMasterPort);
}

TEST(Place, a_damaged_resourceconfig_is_an_error_that_names_the_file) {
  Surroundings broken = kTwoSageMakerHosts;
  broken.files[kResourceConfig] = "{";
  const auto place = broken.find();
  EXPECT_THAT(error_of(place), AllOf(HasSubstr(kResourceConfig), HasSubstr("is no JSON object")));
  EXPECT_EQ(place.error().code, ErrorCode::kInvalidInput);
}

TEST(Place, an_unreadable_resourceconfig_is_no_reason_to_train_alone) {
  PlaceSources sources = kTwoSageMakerHosts.sources();
  sources.read_file = [](const std::string& path) -> Result<std::string> {
    return fail(ErrorCode::kPermission, path + ": permission denied");
  };
  EXPECT_THAT(error_of(find_place({}, sources)), HasSubstr("permission denied"));
}

TEST(Place, mpirun_within_a_sagemaker_job_is_refused) {
  EXPECT_THAT(error_of(kTwoSageMakerHosts.with("OMPI_COMM_WORLD_SIZE", "16").find()),
              HasSubstr("mpirun has started this process within a SageMaker training job"));
}

TEST(Place, a_rank_of_open_mpi_4_on_two_hosts) {
  const auto place = kOpenMpi4.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->size, 4);
  EXPECT_EQ(place->rank, 2);
  EXPECT_EQ(place->local_rank, 0);
  EXPECT_EQ(place->local_size, 2);
  EXPECT_EQ(place->nodes, 2);
  EXPECT_EQ(place->node, 1);
  EXPECT_EQ(place->master_host, "node1");
  EXPECT_EQ(place->master_port, 20000 + 32362332170 % 10000);
}

TEST(Place, a_rank_of_open_mpi_5_on_one_host) {
  const auto place = kOpenMpi5.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->size, 8);
  EXPECT_EQ(place->rank, 3);
  EXPECT_EQ(place->local_rank, 3);
  EXPECT_EQ(place->nodes, 1);
  EXPECT_EQ(place->master_host, "127.0.0.1");
}

TEST(Place, mpirun_on_several_hosts_must_be_told_where_rank_0_is) {
  EXPECT_THAT(error_of(kOpenMpi4.without("MASTER_ADDR").find()),
              HasSubstr("(name it: mpirun -x MASTER_ADDR=HOST"));
  const auto in_slurm = kOpenMpi4.without("MASTER_ADDR")
                            .with("SLURM_JOB_ID", "476")
                            .with("SLURM_JOB_NODELIST", "gpu[07-08]")
                            .find();
  ASSERT_TRUE(in_slurm) << error_of(in_slurm);
  EXPECT_EQ(in_slurm->master_host, "gpu07");
}

// salloc -N 2 mpirun of Open MPI 4.1 on the host "vm", which is the second of the allocation: what a rank on the first finds.
TEST(Place, in_a_slurm_allocation_mpiruns_own_host_has_rank_0) {
  const Surroundings remote{{{"OMPI_COMM_WORLD_SIZE", "4"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                             {"OMPI_COMM_WORLD_RANK", "2"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                             {"PMIX_NAMESPACE", "1421344769"},
                             {"PMIX_SERVER_URI41", "1421344768.1;tcp4://127.0.0.1:41727"},
                             {"SLURM_JOB_ID", "3"},
                             {"SLURM_JOB_NODELIST", "node3,vm"},
                             {"SLURM_STEP_ID", "0"},
                             {"SLURM_STEP_NODELIST", "node3"},
                             {"SLURM_PROCID", "0"}},
                            {}};
  const auto place = remote.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->source, "Open MPI's mpirun");
  EXPECT_EQ(place->master_host, "vm");
  // Beside mpirun, also where that was started in a step of one host.
  const auto beside = remote.with("PMIX_SERVER_URI41", "1421344768.0;tcp4://127.0.0.1:41727");
  EXPECT_EQ(beside.find()->master_host, "127.0.0.1");
  EXPECT_EQ(beside.with("PMIX_SERVER_URI41", "prterun-vm-12345@0.0;tcp4://10.0.0.4:4567")
                .find()
                ->master_host,
            "127.0.0.1");
  // From outside of the allocation all its hosts have daemons.
  EXPECT_EQ(remote.with("SLURM_STEP_NODELIST", "node3,vm").find()->master_host, "node3");
  EXPECT_THAT(error_of(remote.with("SLURM_STEP_NODELIST", "node[3").find()),
              HasSubstr("SLURM_STEP_NODELIST"));
}

TEST(Place, half_of_mpiruns_variables_are_an_error) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE",
                           "OMPI_COMM_WORLD_RANK",
                           "OMPI_COMM_WORLD_LOCAL_SIZE",
                           "OMPI_COMM_WORLD_LOCAL_RANK"}) {
    EXPECT_THAT(error_of(kOpenMpi4.without(name).find()),
                HasSubstr(std::string(name) + " is not set"));
  }
  EXPECT_THAT(error_of(kOpenMpi4.with("OMPI_COMM_WORLD_RANK", "4").find()),
              HasSubstr("OMPI_COMM_WORLD_RANK=\"4\" is not a whole number from 0 to 3"));
  EXPECT_THAT(error_of(kOpenMpi4.with("OMPI_COMM_WORLD_LOCAL_RANK", "2").find()),
              HasSubstr("OMPI_COMM_WORLD_LOCAL_RANK=\"2\" is not a whole number from 0 to 1"));
}

TEST(Place, launchers_that_are_not_read_are_named_and_not_taken_for_one_process) {
  const auto mpich = Surroundings{{{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}, {}}.find();
  EXPECT_THAT(error_of(mpich), HasSubstr("PMI_SIZE is set"));
  EXPECT_EQ(mpich.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(error_of(Surroundings{{{"PMIX_RANK", "1"}}, {}}.find()),
              HasSubstr("PMIX_RANK is set"));
  EXPECT_EQ((Surroundings{{{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}, {}}.find()->size), 1);
}

TEST(Place, a_child_node_of_aws_batch) {
  const auto place = kBatch.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->nodes, 4);
  EXPECT_EQ(place->node, 2);
  EXPECT_EQ(place->rank, 16);
  EXPECT_EQ(place->size, 32);
  EXPECT_EQ(place->local_rank, std::nullopt);
  EXPECT_EQ(place->master_host, "10.0.3.17");
}

TEST(Place, the_main_node_of_aws_batch_is_told_no_address_and_has_rank_0) {
  const Surroundings main = kBatch.without("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS")
                                .with("AWS_BATCH_JOB_MAIN_NODE_INDEX", "2");
  const auto place = main.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->rank, 0);
  EXPECT_EQ(place->master_host, "127.0.0.1");
  const auto child = kBatch.with("AWS_BATCH_JOB_MAIN_NODE_INDEX", "2")
                         .with("AWS_BATCH_JOB_NODE_INDEX", "1")
                         .with("AWS_BATCH_JOB_ID", "106e00d3-5b8b-4f3e-8e7e-8a2b3cbb8d2d#1")
                         .find();
  ASSERT_TRUE(child) << error_of(child);
  EXPECT_EQ(child->node, 3);
  EXPECT_EQ(child->master_port, place->master_port);  // of the job, not of the node
}

TEST(Place, a_child_node_of_aws_batch_without_the_main_nodes_address_is_an_error) {
  EXPECT_THAT(error_of(kBatch.without("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS").find()),
              HasSubstr("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS is not set"));
  EXPECT_THAT(error_of(kBatch.without("AWS_BATCH_JOB_MAIN_NODE_INDEX").find()),
              HasSubstr("AWS_BATCH_JOB_MAIN_NODE_INDEX is not set"));
  EXPECT_THAT(error_of(kBatch.with("AWS_BATCH_JOB_NODE_INDEX", "4").find()),
              HasSubstr("AWS_BATCH_JOB_NODE_INDEX=\"4\" is not a whole number from 0 to 3"));
}

TEST(Place, the_order_is_that_of_the_documentation) {
  // All at once; what has spoken is taken away, so that the next one speaks.
  Surroundings all;
  all.files = kTwoSageMakerHosts.files;
  for (const auto* launcher : {&kOpenMpi5, &kBatch, &kKubeflow, &kJobSet}) {
    all.variables.insert(launcher->variables.begin(), launcher->variables.end());
  }
  all.variables.insert({{"SLURM_JOB_ID", "476"},
                        {"SLURM_STEP_ID", "0"},
                        {"SLURM_PROCID", "0"},
                        {"SLURM_STEP_NUM_TASKS", "1"}});
  all.variables.erase("OMPI_COMM_WORLD_SIZE");  // refused beside SageMaker
  const auto source = [&] { return error_of(all.find()); };
  EXPECT_EQ(all.find({.local_size = 1, .nodes = 2, .node = 1, .rendezvous = "a:1"})->source,
            "the command line");
  EXPECT_EQ(source(), "no error: SageMaker's resourceconfig.json");
  all.files.clear();
  all.variables["OMPI_COMM_WORLD_SIZE"] = "8";
  EXPECT_EQ(source(), "no error: Open MPI's mpirun");
  all.variables.erase("OMPI_COMM_WORLD_SIZE");
  all.variables.erase("OMPI_COMM_WORLD_RANK");
  EXPECT_EQ(source(), "no error: Slurm job 476, step 0");
  all.variables.erase("SLURM_JOB_ID");
  EXPECT_EQ(source(), "no error: AWS Batch");
  all.variables.erase("AWS_BATCH_JOB_NUM_NODES");
  all.variables.erase("AWS_BATCH_JOB_NODE_INDEX");
  EXPECT_EQ(source(), "no error: Kubeflow");
  all.variables.erase("PET_NNODES");
  EXPECT_EQ(source(), "no error: JobSet");
  all.variables.erase("JOB_COMPLETION_INDEX");
  EXPECT_EQ(source(), "no error: RANK and WORLD_SIZE");
  for (const char* name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "PMIX_RANK"})
    all.variables.erase(name);
  EXPECT_EQ(source(), "no error: one process");
}

TEST(Place, flags_name_the_nodes) {
  const auto place = Surroundings{{}, {}, 2}.find(
      {.local_size = {}, .nodes = 3, .node = 2, .rendezvous = "gpu01:4000"});
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->rank, 4);
  EXPECT_EQ(place->size, 6);
  EXPECT_EQ(place->local_rank, std::nullopt);
  EXPECT_EQ(place->master_host, "gpu01");
  EXPECT_EQ(place->master_port, 4000);
  EXPECT_TRUE(place->port_is_given);
}

TEST(Place, flags_that_do_not_belong_together_are_refused) {
  const Surroundings plain;
  EXPECT_THAT(error_of(plain.find({{}, 2, {}, "a:1"})),
              HasSubstr("--nodes is given without --node"));
  EXPECT_THAT(error_of(plain.find({{}, {}, 1, "a:1"})),
              HasSubstr("--node is given without --nodes"));
  EXPECT_THAT(error_of(plain.find({{}, 2, 1, ""})), HasSubstr("need --rendezvous HOST:PORT"));
  EXPECT_THAT(error_of(plain.find({{}, 2, 2, "a:1"})),
              HasSubstr("--node 2 is not one of the 2 nodes"));
  EXPECT_THAT(error_of(plain.find({{}, 0, 0, "a:1"})), HasSubstr("--nodes 0 is not from 1 to"));
  EXPECT_THAT(error_of(plain.find({{}, 2, 1, "a:0"})), HasSubstr("--rendezvous \"a:0\""));
  EXPECT_THAT(error_of(plain.find({2000, {}, {}, ""})), HasSubstr("not from 1 to 1024"));
  EXPECT_EQ(plain.find({{}, 1, {}, ""})->size, 1);
}

TEST(Place, a_rendezvous_alone_corrects_what_was_found) {
  const auto place = kTwoSageMakerHosts.find({{}, {}, {}, "10.0.0.7:4000"});
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->nodes, 2);
  EXPECT_EQ(place->master_host, "10.0.0.7");
  EXPECT_EQ(place->master_port, 4000);
}

TEST(Place, an_address_and_a_port_set_by_hand_correct_what_a_launcher_says) {
  const auto place =
      kTwoSageMakerHosts.with("MASTER_ADDR", "10.0.0.7").with("MASTER_PORT", "4000").find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->master_host, "10.0.0.7");
  EXPECT_EQ(place->master_port, 4000);
  EXPECT_TRUE(place->port_is_given);
}

TEST(Place, ranks_can_be_started_where_a_launcher_has_started_one_process_for_each_host) {
  const Surroundings hand{{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, {}};
  const auto place = hand.find({.local_size = 4, .nodes = {}, .node = {}, .rendezvous = ""});
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->rank, 4);
  EXPECT_EQ(place->size, 8);
  EXPECT_EQ(place->nodes, 2);
  EXPECT_EQ(place->local_rank, std::nullopt);
}

TEST(Place, ranks_cannot_be_started_by_each_of_several_processes_of_a_host) {
  for (const auto* launcher : {&kOpenMpi4, &kOpenMpi5, &kTorchrun}) {
    EXPECT_THAT(error_of(launcher->find({2, {}, {}, ""})),
                HasSubstr("processes on this host already"));
  }
  EXPECT_THAT(error_of(kTorchrun.with("ATOLL_LAUNCHED", "1").find({2, {}, {}, ""})),
              HasSubstr("atoll launch has started 2 processes"));
}

}  // namespace
}  // namespace atl::job
