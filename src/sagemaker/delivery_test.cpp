#include "sagemaker/delivery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/fake_store.h"

namespace atl::sagemaker {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> keys(storage::ObjectStore& store) {
  std::vector<std::string> keys;
  EXPECT_TRUE(store.list("", [&](const storage::ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  }));
  return keys;
}

class Delivery : public ::testing::Test {
 protected:
  void run_has(const std::vector<std::string>& names) {
    for (const std::string& name : names) ASSERT_TRUE(storage::put_text(run_, name, name));
  }
  storage::FakeStore run_, model_, output_;
};

TEST_F(Delivery, the_model_and_the_results_go_apart_and_checkpoints_stay) {
  run_has({"model.safetensors",
           "best.safetensors",
           "config.toml",
           "eval.json",
           "predictions.json",
           "metrics.jsonl",
           "trace.json",
           "events.out.tfevents.1.host",
           "pictures/01_7.jpg",
           "checkpoints/0000004.safetensors",
           "notes/eval.json"});
  const auto delivered = deliver(run_, model_, output_);
  ASSERT_TRUE(delivered);
  EXPECT_TRUE(delivered->model);
  EXPECT_EQ(delivered->files, 9U);
  EXPECT_THAT(keys(model_), ElementsAre("best.safetensors", "config.toml", "model.safetensors"));
  EXPECT_THAT(keys(output_),
              ElementsAre("eval.json",
                          "events.out.tfevents.1.host",
                          "metrics.jsonl",
                          "pictures/01_7.jpg",
                          "predictions.json",
                          "trace.json"));
  EXPECT_EQ(model_.get("config.toml")->text(), "config.toml");
}

TEST_F(Delivery, a_run_that_was_stopped_early_has_no_model_yet) {
  run_has({"config.toml", "metrics.jsonl"});
  const auto delivered = deliver(run_, model_, output_);
  ASSERT_TRUE(delivered);
  EXPECT_FALSE(delivered->model);
  EXPECT_EQ(delivered->files, 2U);
}

TEST_F(Delivery, a_full_volume_is_told_and_where_the_run_is) {
  run_has({"model.safetensors"});
  model_.fail_call(1, Error{ErrorCode::kIo, "model.safetensors: No space left on device", "", {}});
  const auto delivered = deliver(run_, model_, output_);
  ASSERT_FALSE(delivered);
  EXPECT_THAT(
      delivered.error().to_string(),
      AllOf(HasSubstr("handing the results over: fake:: model.safetensors: No space left"),
            HasSubstr("the whole run is in fake:; a full volume needs a larger VolumeSizeInGB")));
}

}  // namespace
}  // namespace atl::sagemaker
