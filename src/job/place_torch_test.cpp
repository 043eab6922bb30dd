// Launchers that speak torch's variables, and people who set them by hand.
#include <gtest/gtest.h>

#include "job/place_fixture.h"

namespace atl::job {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Place, a_process_of_torchrun) {
  const auto place = kTorchrun.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->source, "torchrun");
  EXPECT_EQ(place->rank, 3);
  EXPECT_EQ(place->size, 4);
  EXPECT_EQ(place->local_rank, 1);
  EXPECT_EQ(place->local_size, 2);
  EXPECT_EQ(place->node, 1);
  EXPECT_EQ(place->nodes, 2);
  EXPECT_EQ(place->master_host, "gpu01");
  EXPECT_EQ(place->master_port, 33707);
}

TEST(Place, where_torchruns_own_store_listens_ours_is_beside_it) {
  for (const auto& [given, expected] : {std::pair{"33707", 33708}, std::pair{"65535", 65534}}) {
    const auto place =
        kTorchrun.with("TORCHELASTIC_USE_AGENT_STORE", "True").with("MASTER_PORT", given).find();
    ASSERT_TRUE(place) << error_of(place);
    EXPECT_EQ(place->master_port, expected);
  }
}

TEST(Place, a_launcher_on_this_host_comes_before_the_one_that_started_it) {
  Surroundings inside = kTorchrun;
  inside.files = kTwoSageMakerHosts.files;
  inside.variables.insert({{"SLURM_JOB_ID", "476"},
                           {"SLURM_STEP_ID", "0"},
                           {"SLURM_PROCID", "1"},
                           {"SLURM_STEP_NUM_TASKS", "2"},
                           {"PET_NNODES", "2"}});
  EXPECT_EQ(inside.find()->source, "torchrun");
  const auto launched = inside.without("TORCHELASTIC_RUN_ID").with("ATOLL_LAUNCHED", "1").find();
  ASSERT_TRUE(launched) << error_of(launched);
  EXPECT_EQ(launched->source, "atoll launch");
  EXPECT_EQ(launched->rank, 3);
}

TEST(Place, a_launched_rank_knows_its_number) {
  EXPECT_EQ(launched_rank(Surroundings{}.sources()), std::nullopt);
  EXPECT_EQ(launched_rank(kTorchrun.sources()), std::nullopt);
  EXPECT_EQ(launched_rank(kTorchrun.with("ATOLL_LAUNCHED", "1").sources()), 3);
}

TEST(Place, in_a_pod_of_kubeflow_the_rank_is_a_nodes) {
  const auto place = kKubeflow.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->nodes, 2);
  EXPECT_EQ(place->node, 1);
  EXPECT_EQ(place->local_size, 8);
  EXPECT_EQ(place->rank, 8);
  EXPECT_EQ(place->size, 16);
  EXPECT_EQ(place->master_host, "demo-master-0");
  EXPECT_EQ(place->master_port, 23456);
  const auto by_rank = kKubeflow.without("PET_NODE_RANK").find();
  ASSERT_TRUE(by_rank) << error_of(by_rank);
  EXPECT_EQ(by_rank->node, 1);
}

TEST(Place, kubeflows_trainer_sets_no_rank_at_all) {
  const auto place = Surroundings{
      {{"JOB_COMPLETION_INDEX", "1"},
       {"PET_NNODES", "2"},
       {"PET_NPROC_PER_NODE", "4"},
       {"PET_NODE_RANK", "1"},
       {"PET_MASTER_ADDR", "demo-node-0-0.demo"},
       {"PET_MASTER_PORT", "29400"}},
      {}}.find();
  ASSERT_TRUE(place) << error_of(place);
  EXPECT_EQ(place->rank, 4);
  EXPECT_EQ(place->size, 8);
  EXPECT_EQ(place->master_port, 29400);
}

TEST(Place, an_elastic_kubeflow_job_is_refused_unless_its_size_is_fixed) {
  const auto elastic = kKubeflow.with("PET_NNODES", "1:4").find();
  EXPECT_THAT(error_of(elastic), HasSubstr("PET_NNODES=\"1:4\": the number of nodes may change"));
  EXPECT_EQ(elastic.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(kKubeflow.with("PET_NNODES", "2:2").find()->nodes, 2);
  for (const char* wrong : {"0", "two", "4:1", "2:", ":2", "-1"}) {
    EXPECT_THAT(error_of(kKubeflow.with("PET_NNODES", wrong).find()),
                HasSubstr("is no number of nodes"));
  }
}

TEST(Place, half_of_kubeflows_variables_are_an_error) {
  EXPECT_THAT(error_of(kKubeflow.without("PET_NODE_RANK").without("RANK").find()),
              HasSubstr("PET_NODE_RANK is not set"));
  EXPECT_THAT(error_of(kKubeflow.without("PET_MASTER_ADDR").without("MASTER_ADDR").find()),
              HasSubstr("MASTER_ADDR is not set"));
  EXPECT_THAT(error_of(kKubeflow.with("PET_NODE_RANK", "2").find()),
              HasSubstr("PET_NODE_RANK=\"2\" is not a whole number from 0 to 1"));
  EXPECT_THAT(error_of(kKubeflow.with("PET_MASTER_PORT", "65536").find()),
              HasSubstr("PET_MASTER_PORT=\"65536\" is not a port"));
}

TEST(Place, a_pod_of_a_jobset) {
  for (const bool with_rank : {true, false}) {
    const auto place = (with_rank ? kJobSet : kJobSet.without("RANK")).find();
    ASSERT_TRUE(place) << error_of(place);
    EXPECT_EQ(place->source, "JobSet");
    EXPECT_EQ(place->node, 3);
    EXPECT_EQ(place->nodes, 4);
    EXPECT_EQ(place->size, 4);
    EXPECT_EQ(place->local_rank, 0);
    EXPECT_EQ(place->master_host, "pytorch-workers-0-0.pytorch");
    EXPECT_EQ(place->master_port, 3389);
  }
}

TEST(Place, a_jobset_must_say_how_many_pods_there_are) {
  EXPECT_THAT(error_of(kJobSet.without("WORLD_SIZE").find()),
              HasSubstr("JobSet does not tell a pod how many there are"));
}

TEST(Place, the_pods_of_an_indexed_job_without_an_address_are_on_their_own) {
  EXPECT_EQ((Surroundings{{{"JOB_COMPLETION_INDEX", "3"}}, {}}.find()->size), 1);
}

TEST(Place, ranks_set_by_hand_are_one_for_each_host_unless_local_ranks_are_set_too) {
  const Surroundings hand{{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, {}, 8};
  const auto one = hand.find();
  ASSERT_TRUE(one) << error_of(one);
  EXPECT_EQ(one->local_size, 1);
  EXPECT_EQ(one->local_rank, 0);
  EXPECT_EQ(one->nodes, 2);
  EXPECT_EQ(one->master_port, kDefaultMasterPort);
  const auto both = hand.with("LOCAL_RANK", "1").with("LOCAL_WORLD_SIZE", "2").find();
  ASSERT_TRUE(both) << error_of(both);
  EXPECT_EQ(both->nodes, 1);
  EXPECT_EQ(both->local_rank, 1);
}

TEST(Place, half_of_the_variables_set_by_hand_are_an_error_that_names_the_missing_one) {
  const Surroundings hand{{{"RANK", "1"},
                           {"WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "a"},
                           {"LOCAL_RANK", "0"},
                           {"LOCAL_WORLD_SIZE", "1"}},
                          {}};
  ASSERT_TRUE(hand.find());
  for (const char* name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}) {
    EXPECT_THAT(error_of(hand.without(name).find()), HasSubstr(std::string(name) + " is not set"));
  }
  EXPECT_THAT(error_of(Surroundings{{{"MASTER_ADDR", "a"}}, {}}.find()),
              AllOf(HasSubstr("WORLD_SIZE is not set"), HasSubstr("unset them all")));
}

TEST(Place, what_is_no_number_is_named_with_its_variable) {
  const Surroundings hand{{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, {}};
  for (const char* wrong :
       {"2", "-1", "1x", " 1", "0x1", "99999999999999999999", "1.0", "\x1b[2J"}) {
    const std::string error = error_of(hand.with("RANK", wrong).find());
    EXPECT_THAT(error, HasSubstr("RANK=\"")) << wrong;
    EXPECT_THAT(error, HasSubstr("is not a whole number from 0 to 1")) << wrong;
    EXPECT_EQ(error.find('\x1b'), std::string::npos);
  }
  for (const char* wrong : {"0", "65536", "-1", "http"}) {
    EXPECT_THAT(error_of(hand.with("MASTER_PORT", wrong).find()),
                HasSubstr("is not a port, a number from 1 to 65535"));
  }
  EXPECT_THAT(error_of(hand.with("MASTER_ADDR", "two words").find()),
              HasSubstr("is no host's name or address"));
  EXPECT_EQ(hand.with("MASTER_ADDR", "fd00::1").find()->master_host, "fd00::1");
}

TEST(Place, an_empty_variable_is_none) {
  EXPECT_EQ(
      (Surroundings{{{"RANK", ""}, {"WORLD_SIZE", ""}, {"MASTER_ADDR", ""}}, {}}.find()->size), 1);
}

}  // namespace
}  // namespace atl::job
