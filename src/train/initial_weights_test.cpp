// What a run starts from, and which layers start anew.
#include "train/initial_weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "model/safetensors.h"
#include "train/small_run.h"

namespace atl::train {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr uint64_t kSeedOfFile = 1;
constexpr uint64_t kSeedOfRun = 2;
const model::CategoryMap kClasses{{1, 2, 3}, {"disc", "rectangle", "star"}};

class InitialWeights : public SmallRun {
 protected:
  model::MaskRcnn network(size_t classes,
                          uint64_t seed,
                          const std::vector<std::string>& sets = {}) {
    auto settings = config("unused", sets).model;
    settings.num_classes = static_cast<int64_t>(classes) + 1;
    return {settings, at::kCPU, seed};
  }
  // As a run leaves it.
  void write_ours(const model::CategoryMap& categories) {
    storage::LocalStore store(folder_.string());
    const auto model = network(categories.ids.size(), kSeedOfFile);
    ASSERT_TRUE(model::save_model(store, "w.safetensors", model, categories));
  }
  void write(const std::map<std::string, at::Tensor>& tensors,
             const std::map<std::string, std::string>& metadata = {}) {
    storage::LocalStore store(folder_.string());
    ASSERT_TRUE(model::write_safetensors(store, "w.safetensors", tensors, metadata));
  }
  Result<std::string> load(model::MaskRcnn& model) {
    return load_initial_weights(model, kClasses, path("w.safetensors"));
  }

  enum class Heads { kOfFile, kAnew };
  // The classes' layers as they are expected, and all else from the file.
  void expect_loaded(size_t classes_of_file, Heads heads) {
    auto model = network(kClasses.ids.size(), kSeedOfRun);
    const auto said = load(model);
    ASSERT_TRUE(said) << said.error().to_string();
    const char* anew = "has other classes: the last layers of the box and mask heads start anew";
    EXPECT_THAT(*said, StartsWith("started from " + path("w.safetensors")));
    EXPECT_EQ(said->find(anew) != std::string::npos, heads == Heads::kAnew) << *said;
    const auto file = network(classes_of_file, kSeedOfFile);
    const auto fresh = network(kClasses.ids.size(), kSeedOfRun);
    int of_classes = 0;
    for (const auto& [name, tensor] : model.state()) {
      const bool is_of_classes = name.find("_predictor.cls_score") != std::string::npos ||
                                 name.find("_predictor.bbox_pred") != std::string::npos ||
                                 name.find("_predictor.mask_fcn_logits") != std::string::npos;
      of_classes += static_cast<int>(is_of_classes);
      const auto& from = is_of_classes && heads == Heads::kAnew ? fresh : file;
      EXPECT_TRUE(at::equal(tensor, from.state().at(name))) << name;
    }
    EXPECT_EQ(of_classes, 6);
  }
};

TEST_F(InitialWeights, of_the_same_classes_all_is_taken) {
  write_ours(kClasses);
  expect_loaded(3, Heads::kOfFile);
}

TEST_F(InitialWeights, of_more_classes_all_but_the_last_layers) {
  write_ours({{1, 2, 3, 4}, {"disc", "rectangle", "star", "triangle"}});
  expect_loaded(4, Heads::kAnew);
}

TEST_F(InitialWeights, as_many_classes_of_other_names_are_others) {
  write_ours({{1, 2, 3}, {"cat", "dog", "horse"}});
  expect_loaded(3, Heads::kAnew);
}

TEST_F(InitialWeights, a_file_that_names_no_classes_is_taken_by_its_shapes) {
  write(network(3, kSeedOfFile).state());
  expect_loaded(3, Heads::kOfFile);
  write(network(90, kSeedOfFile).state());
  expect_loaded(90, Heads::kAnew);
}

TEST_F(InitialWeights, of_another_network_are_refused_by_the_tensors_that_differ) {
  write(network(3, kSeedOfFile, {"model.box_head_channels=48"}).state());
  auto model = network(3, kSeedOfRun);
  const auto refused = load(model);
  ASSERT_FALSE(refused);
  EXPECT_EQ(exit_code(refused.error()), 2);
  EXPECT_THAT(refused.error().to_string(), HasSubstr(path("w.safetensors")));
  EXPECT_THAT(refused.error().to_string(), HasSubstr("roi_heads.box_head.fc6.weight is"));
  // And nothing was taken.
  const auto fresh = network(3, kSeedOfRun);
  for (const auto& [name, tensor] : fresh.state()) {
    EXPECT_TRUE(at::equal(tensor, model.state().at(name))) << name;
  }
}

TEST_F(InitialWeights, a_damaged_list_of_classes_is_not_taken_for_the_same_classes) {
  write(network(3, kSeedOfFile).state(), {{"atoll.categories", "[{\"id\": 1"}});
  auto model = network(3, kSeedOfRun);
  const auto refused = load(model);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(refused.error().to_string(), HasSubstr("w.safetensors"));
}

TEST_F(InitialWeights, a_run_takes_them_once_and_goes_on_from_its_checkpoint) {
  make_data();
  finish(config("first"));
  std::filesystem::copy_file(path("first/model.safetensors"), path("w.safetensors"));
  const auto second = config("second", {"weights=" + path("w.safetensors")});
  on_progress_ = [&](const Progress& progress) {
    if (progress.phase == std::string("train") && progress.done == 2) stop_.request_stop();
  };
  ASSERT_TRUE(run(second));
  EXPECT_THAT(lines_, Contains("started from " + path("w.safetensors")));
  // What has learned already begins better than what has not.
  EXPECT_LT(metrics("second")[0]["loss"], metrics("first")[0]["loss"]);
  on_progress_ = nullptr;
  stop_ = std::stop_source();
  std::filesystem::remove(path("w.safetensors"));
  finish(second);
  EXPECT_THAT(lines_, Contains("going on after step 2 of 4"));
  EXPECT_THAT(lines_, Not(Contains(HasSubstr("started from"))));
}

}  // namespace
}  // namespace atl::train
