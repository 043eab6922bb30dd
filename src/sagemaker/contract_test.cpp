#include "sagemaker/contract.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "sagemaker/contract_fixture.h"

namespace atl::sagemaker {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ContractFiles : public ContainerFolder {
 protected:
  std::string error() const {
    const auto contract = read_contract(paths_);
    return contract ? "no error" : contract.error().to_string();
  }
};

// As SageMaker writes them: every value a text, all keys.
TEST_F(ContractFiles, those_of_sagemaker) {
  write("input/config/hyperparameters.json", R"({"preset":"r50_fpn","train.steps":"90000"})");
  write("input/config/inputdataconfig.json",
        R"({"train":{"ContentType":"application/x-recordio","TrainingInputMode":"Pipe",
            "S3DistributionType":"FullyReplicated","RecordWrapperType":"RecordIO"},
            "validation":{"TrainingInputMode":"FastFile","S3DistributionType":"ShardedByS3Key",
            "RecordWrapperType":"None"}})");
  write("input/config/resourceconfig.json",
        R"({"current_group_name":"homogeneousCluster","current_host":"algo-2",
            "current_instance_type":"ml.p4d.24xlarge","hosts":["algo-1","algo-2"],
            "instance_groups":[{"hosts":["algo-2","algo-1"],"instance_group_name":"homogeneousCluster",
            "instance_type":"ml.p4d.24xlarge"}],"network_interface_name":"eth0","topology":null})");
  const auto contract = read_contract(paths_);
  ASSERT_TRUE(contract) << contract.error().to_string();
  EXPECT_THAT(
      contract->hyperparameters,
      ElementsAre(Hyperparameter{"preset", "r50_fpn"}, Hyperparameter{"train.steps", "90000"}));
  EXPECT_THAT(contract->channels,
              ElementsAre(Channel{"train", InputMode::kPipe, true, false},
                          Channel{"validation", InputMode::kFastFile, false, true}));
  EXPECT_EQ(contract->host(), "algo-2");
  EXPECT_TRUE(has_contract(paths_));
}

// As the SDK's local mode writes them.
TEST_F(ContractFiles, those_of_local_mode) {
  write("input/config/hyperparameters.json",
        R"({"preset":"\"tiny\"","train.steps":"4","sagemaker_job_name":"\"x\""})");
  write("input/config/inputdataconfig.json", R"({"training":{"TrainingInputMode":"File"}})");
  write("input/config/resourceconfig.json",
        R"({"current_host":"algo-1-4k8ej","current_instance_type":"local",
            "hosts":["algo-1-4k8ej"],"network_interface_name":"eth0"})");
  const auto contract = read_contract(paths_);
  ASSERT_TRUE(contract) << contract.error().to_string();
  EXPECT_EQ(contract->hyperparameters.front(), (Hyperparameter{"preset", "tiny"}));
  EXPECT_THAT(contract->channels, ElementsAre(Channel{"training"}));
}

TEST_F(ContractFiles, without_a_description_the_folders_are_the_channels) {
  write_resources();
  write("input/data/train/a", "1");
  write("input/data/validation/b/c", "1");
  const auto contract = read_contract(paths_);
  ASSERT_TRUE(contract) << contract.error().to_string();
  EXPECT_THAT(contract->channels, ElementsAre(Channel{"train"}, Channel{"validation"}));
  EXPECT_THAT(contract->hyperparameters, IsEmpty());
  EXPECT_FALSE(has_contract(paths_));
}

TEST_F(ContractFiles, without_hosts_there_is_no_job) {
  write("input/config/hyperparameters.json", "{}");
  EXPECT_THAT(error(),
              AllOf(HasSubstr(path("input/config/resourceconfig.json") + " is not there"),
                    HasSubstr("atoll train --data DIR")));
}

TEST_F(ContractFiles, a_host_that_is_not_among_the_hosts_is_named) {
  write_resources("algo-3", R"(["algo-1","algo-2"])");
  EXPECT_THAT(error(),
              AllOf(HasSubstr("input/config/resourceconfig.json: "),
                    HasSubstr("\"current_host\" algo-3 is not among the 2 \"hosts\"")));
}

TEST_F(ContractFiles, a_broken_file_is_named) {
  write_resources();
  write("input/config/hyperparameters.json", "{\"a\": ");
  EXPECT_THAT(error(), HasSubstr("input/config/hyperparameters.json: is no JSON object"));
  write("input/config/hyperparameters.json", "{}");
  write("input/config/inputdataconfig.json", "[]");
  EXPECT_THAT(error(), HasSubstr("input/config/inputdataconfig.json: is no JSON object"));
}

TEST(InputDataConfig, what_is_wrong_is_named) {
  const auto error = [](const char* json) {
    const auto channels = parse_input_data_config(json);
    return channels ? "no error" : channels.error().to_string();
  };
  EXPECT_THAT(error(R"({"../x": {}})"), HasSubstr("a channel's name is not of letters"));
  EXPECT_THAT(error(R"({"..": {}})"), HasSubstr("a channel's name is not of letters"));
  EXPECT_THAT(error(R"({"": {}})"), HasSubstr("a channel's name is not of letters"));
  EXPECT_THAT(error(R"({"train": 7})"), HasSubstr("channel train is no JSON object"));
  EXPECT_THAT(error(R"({"train": {"TrainingInputMode": "Stream"}})"),
              HasSubstr("the unknown TrainingInputMode \"Stream\" (use FastFile, File or Pipe)"));
}

TEST(Paths, what_a_person_calls_opt_ml_is_the_root) {
  const Paths paths{.root = "/sandbox"};
  EXPECT_EQ(paths.here("/opt/ml/input/data/x"), "/sandbox/input/data/x");
  EXPECT_EQ(paths.here("tfrecord:/opt/ml/input"), "tfrecord:/sandbox/input");
  EXPECT_EQ(paths.here("/opt/ml"), "/sandbox");
  for (const char* other : {"/opt/mlx", "s3://bucket/opt/ml", "x", "", "/fsx/opt/ml/y"}) {
    EXPECT_EQ(paths.here(other), other);
  }
}

}  // namespace
}  // namespace atl::sagemaker
