#include "sagemaker/plan.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "sagemaker/contract_fixture.h"

namespace atl::sagemaker {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Plans : public ContainerFolder {
 protected:
  Plans() {
    contract_.paths = paths_;
    contract_.resources.hosts = {"algo-1", "algo-2"};
    contract_.resources.current = 1;
    settings_.data = "s3://bucket/coco";
  }
  Plan plan() {
    auto plan = plan_job(contract_, settings_, {});
    EXPECT_TRUE(plan) << plan.error().to_string();
    return plan ? *std::move(plan) : Plan{};
  }
  static size_t place_of(const std::vector<std::string>& arguments, const std::string& argument) {
    return static_cast<size_t>(std::ranges::find(arguments, argument) - arguments.begin());
  }

  Contract contract_;
  Settings settings_;
};

TEST_F(Plans, a_run_lies_below_the_first_host_on_all_hosts) {
  const Plan made = plan();
  EXPECT_EQ(made.run, path("checkpoints/algo-1/run"));
  EXPECT_EQ(made.arguments.front(), "train");
  EXPECT_THAT(made.arguments,
              AllOf(Contains("data.path=s3://bucket/coco"),
                    Contains("train.model_at_stop=true"),
                    Contains("out=" + path("checkpoints/algo-1/run"))));
  EXPECT_THAT(made.lines, Contains(HasSubstr("atoll train --set ")));
}

TEST_F(Plans, a_bucket_named_for_the_run_is_taken) {
  settings_.out = "s3://bucket/runs/first";
  EXPECT_EQ(plan().run, "s3://bucket/runs/first");
  settings_.out = "";
  settings_.model_dir = "s3://bucket/job/model";
  EXPECT_EQ(plan().run, "s3://bucket/job/model");
  settings_.model_dir = "/opt/ml/model";
  EXPECT_EQ(plan().run, path("checkpoints/algo-1/run"));
  EXPECT_THAT(plan().lines, Contains(HasSubstr("model_dir = /opt/ml/model is not used")));
}

TEST_F(Plans, what_a_person_sets_goes_over_what_was_found) {
  settings_.sets = {"data.train_annotations=mine.json", "train.model_at_stop=false"};
  settings_.config_file = "/opt/ml/input/data/config/run.toml";
  settings_.override_options = true;
  settings_.weights = "";
  const Plan made = plan();
  EXPECT_GT(place_of(made.arguments, "train.model_at_stop=false"),
            place_of(made.arguments, "train.model_at_stop=true"));
  EXPECT_THAT(made.arguments,
              AllOf(Contains("data.train_annotations=mine.json"),
                    Contains(path("input/data/config/run.toml")),
                    Contains("weights="),
                    Contains("--override")));
}

TEST_F(Plans, an_evaluation_is_another_command) {
  settings_.mode = Mode::kEvaluate;
  settings_.weights = "s3://bucket/m.safetensors";
  settings_.sets = {"device=cpu",
                    "threads=2",
                    "data.val_annotations=v.json",
                    "data.max_bad_images=3",
                    "train.steps=4"};
  settings_.evaluation_batch = 8;
  settings_.evaluation_images = 100;
  const Plan made = plan();
  EXPECT_THAT(made.arguments,
              ElementsAre("eval",
                          "--weights",
                          "s3://bucket/m.safetensors",
                          "--data",
                          "s3://bucket/coco",
                          "--annotations",
                          "v.json",
                          "--out",
                          path("output/data"),
                          "--device",
                          "cpu",
                          "--threads",
                          "2",
                          "--batch",
                          "8",
                          "--limit-images",
                          "100",
                          "--max-bad-images",
                          "3"));
  EXPECT_EQ(made.run, "");
}

TEST_F(Plans, efa_is_asked_for_where_the_adapter_is) {
  EXPECT_THAT(efa_variables({}, path("infiniband")), IsEmpty());
  write("infiniband/rdma_cm", "");
  EXPECT_THAT(efa_variables({}, path("infiniband")), IsEmpty());
  write("infiniband/uverbs0", "");
  EXPECT_THAT(efa_variables({"HOME=/x"}, path("infiniband")),
              ElementsAre("FI_PROVIDER=efa", "FI_EFA_USE_DEVICE_RDMA=1"));
  EXPECT_THAT(efa_variables({"FI_PROVIDER=tcp"}, path("infiniband")),
              ElementsAre("FI_EFA_USE_DEVICE_RDMA=1"));
}

}  // namespace
}  // namespace atl::sagemaker
