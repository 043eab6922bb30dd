// Whole runs of a very small network: stopping, going on, and what each option promises.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <set>

#include "model/safetensors.h"
#include "train/small_run.h"

namespace atl::train {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;

constexpr std::array<const char*, 5> kLosses = {
    "loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"};

class TrainingRunTest : public SmallRun {
 protected:
  // Runs until the console is told this; what is at hand then goes on to its end.
  void run_until(const RunConfig& config, const std::function<bool(const Progress&)>& enough) {
    stop_ = std::stop_source();
    on_progress_ = [&](const Progress& progress) {
      if (enough(progress)) stop_.request_stop();
    };
    const auto result = run(config);
    ASSERT_TRUE(result) << result.error().to_string();
    EXPECT_TRUE(result->stopped);
    stop_ = std::stop_source();
    on_progress_ = nullptr;
  }
  void expect_same_results(const std::string& a, const std::string& b) {
    EXPECT_EQ(metrics(a), metrics(b));
    for (const char* file : {"model.safetensors", "eval.json", "predictions.json"}) {
      EXPECT_TRUE(text(a + "/" + file) == text(b + "/" + file)) << file << " differs";
    }
  }
  model::TensorFile model_of(const std::string& out) {
    storage::LocalStore store(path(out));
    return *model::read_safetensors(store, "model.safetensors");
  }
  void edit_annotations(const std::function<void(json&)>& edit) {
    json all = json::parse(text("data/annotations/instances_train2017.json"));
    edit(all);
    std::ofstream(path("data/annotations/instances_train2017.json")) << all.dump();
  }
};

class GoingOn : public TrainingRunTest, public testing::WithParamInterface<std::string> {};

INSTANTIATE_TEST_SUITE_P(
    Options,
    GoingOn,
    testing::Values("train.optimizer=adamw train.ema_decay=0.9 train.schedule=cosine",
                    "train.optimizer=sgd train.schedule=multistep train.milestones=[0.5]",
                    "train.accumulation=2 model.norm=batch train.eval_every=2",
                    "train.bf16=true train.clip_norm=1",
                    // Two epochs of three images, one of which fills up.
                    "data.limit_images=3 data.lsj_size_px=64 data.copy_paste_probability=1 "
                    "data.photometric_probability=1",
                    "data.limit_images=3 data.repeat_factor_threshold=1"));

TEST_P(GoingOn, a_run_that_was_stopped_after_every_step_ends_as_one_that_never_was) {
  make_data();
  std::vector<std::string> sets;
  std::istringstream words(GetParam());
  for (std::string word; words >> word;) sets.push_back(word);
  finish(config("whole", sets));
  for (int64_t step = 1; step < 4; ++step) {
    run_until(config("parts", sets),
              [](const Progress& progress) { return progress.phase == std::string("train"); });
    EXPECT_THAT(lines_,
                Contains(fmt::format("stopped after step {0} of 4; the same command goes on after "
                                     "step {0}",
                                     step)));
  }
  finish(config("parts", sets));
  expect_same_results("whole", "parts");
}

TEST_F(TrainingRunTest, an_image_looks_different_each_epoch_and_each_time_it_is_repeated) {
  make_data(8, 0);
  // Objects, and so a loss of masks, in one image of eight only, which then comes sqrt(8) times an epoch.
  edit_annotations([](json& all) {
    json kept = json::array();
    const json first = all["annotations"][0]["image_id"];
    for (json& annotation : all["annotations"]) {
      if (annotation["image_id"] == first && annotation["iscrowd"] == 0) kept.push_back(annotation);
    }
    all["annotations"] = kept;
  });
  for (const char* repeats : {"data.limit_images=1", "data.repeat_factor_threshold=1"}) {
    finish(config(repeats,
                  {"data.photometric_probability=1",
                   "train.global_batch=1",
                   "train.base_batch=1",
                   "train.learning_rate=1e-12",
                   "train.steps=10",
                   repeats}));
    std::vector<double> losses;
    for (const auto& line : metrics(repeats)) {
      if (line["loss_mask"] > 0.0) losses.push_back(line["loss_mask"]);
    }
    EXPECT_GE(losses.size(), 2U) << repeats;
    EXPECT_EQ(std::set<double>(losses.begin(), losses.end()).size(), losses.size()) << repeats;
  }
}

TEST_F(TrainingRunTest, images_that_fill_up_an_epoch_are_told) {
  make_data(3, 0);
  finish(config("filled"));
  EXPECT_THAT(lines_,
              Contains("padding: each epoch has 1 image more, to fill up its last batches"));
  finish(config("even", {"data.limit_images=2"}));
  EXPECT_THAT(lines_, testing::Not(Contains(HasSubstr("padding: "))));
}

TEST_F(TrainingRunTest, the_share_of_waiting_for_data_is_in_the_metrics) {
  make_data(4, 0);
  finish(config("run"));
  std::istringstream lines(text("run/metrics.jsonl"));
  double most = 0;
  for (std::string line; std::getline(lines, line);) {
    const double share = json::parse(line)["data_wait_share"];
    EXPECT_GE(share, 0);
    EXPECT_LE(share, 1);
    most = std::max(most, share);
  }
  EXPECT_GT(most, 0);  // the first step has nothing else to do
}

TEST_F(TrainingRunTest, an_output_that_is_none_is_refused_before_anything_is_trained) {
  make_data(4, 0);
  std::ofstream(path("run")) << "a file";
  const auto refused = run(config("run"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(exit_code(refused.error()), 2);
  EXPECT_THAT(refused.error().to_string(), HasSubstr(path("run") + " is not a directory"));
  EXPECT_EQ(steps_seen_, 0);
}

TEST_F(TrainingRunTest, a_stop_inside_a_step_lets_the_step_finish) {
  make_data();
  std::filesystem::resize_file(train_image(0), 100);
  int64_t steps_before = 0;
  on_line_ = [&](const std::string& line) {
    if (!line.starts_with("skipped: ")) return;  // said when the step has its images
    steps_before = static_cast<int64_t>(steps_seen_);
    stop_.request_stop();
  };
  const auto result = run(config("run"));
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_TRUE(result->stopped);
  EXPECT_EQ(result->steps, steps_before + 1);
  EXPECT_EQ(metrics("run").size(), static_cast<size_t>(steps_before + 1));
  EXPECT_EQ(checkpoint("run", steps_before + 1).state.step, steps_before + 1);
}

TEST_F(TrainingRunTest, a_stopped_run_leaves_a_model_where_that_is_asked_for) {
  make_data();
  const auto in_training = [](const Progress& progress) {
    return progress.phase == std::string("train");
  };
  run_until(config("without"), in_training);
  EXPECT_FALSE(std::filesystem::exists(path("without/model.safetensors")));
  run_until(config("with", {"train.model_at_stop=true"}), in_training);
  storage::LocalStore store(path("with"));
  EXPECT_TRUE(model::read_safetensors(store, "model.safetensors"));
  // And ends as any other.
  finish(config("whole"));
  finish(config("with"));
  expect_same_results("whole", "with");
}

TEST_F(TrainingRunTest, an_evaluation_can_be_left_out_or_cut_short) {
  make_data(8, 3);
  finish(config("none", {"train.evaluate=false"}));
  EXPECT_FALSE(std::filesystem::exists(path("none/eval.json")));
  finish(config("short", {"data.limit_val_images=1"}));
  EXPECT_THAT(lines_, Contains(HasSubstr("8 training images, 1 for validation")));
}

class StopInAnEvaluation : public TrainingRunTest, public testing::WithParamInterface<int> {};

INSTANTIATE_TEST_SUITE_P(EvalEvery, StopInAnEvaluation, testing::Values(0, 2));

TEST_P(StopInAnEvaluation, says_that_the_same_command_goes_on_and_repeats_it_then) {
  make_data(8, 5);
  const std::vector<std::string> sets = {fmt::format("train.eval_every={}", GetParam())};
  finish(config("whole", sets));
  const int64_t step = GetParam() == 0 ? 4 : GetParam();
  run_until(config("stopped", sets), [](const Progress& progress) {
    return progress.phase == std::string("evaluate") && progress.done < progress.total;
  });
  EXPECT_THAT(lines_,
              Contains(fmt::format(
                  "stopped after step {0} of 4; the same command goes on after step {0}", step)));
  EXPECT_EQ(metrics("stopped").size(), static_cast<size_t>(step));
  EXPECT_FALSE(std::filesystem::exists(path("stopped/eval.json")));
  finish(config("stopped", sets));
  expect_same_results("whole", "stopped");
}

TEST_F(TrainingRunTest, a_stop_without_a_checkpoint_is_an_error_that_promises_nothing) {
  make_data();
  const auto options = config("run");
  // A file where the checkpoints' directory would be.
  std::filesystem::create_directory(path("run"));
  std::ofstream(path("run/checkpoints")) << "in the way";
  on_progress_ = [&](const Progress&) { stop_.request_stop(); };
  const auto result = run(options);
  ASSERT_FALSE(result);
  EXPECT_EQ(exit_code(result.error()), 1);
  EXPECT_THAT(result.error().to_string(),
              HasSubstr("stopped after step 1 of 4, but without a checkpoint (the same command "
                        "begins anew)"));
  EXPECT_THAT(lines_, testing::Not(Contains(HasSubstr("goes on after"))));
}

TEST_F(TrainingRunTest, a_changed_option_is_refused_by_name_unless_it_is_overridden) {
  make_data();
  run_until(config("run"), [](const Progress& progress) { return progress.done == 2; });
  const auto changed = config("run", {"train.learning_rate=5e-4", "train.checkpoint_every=7"});
  const auto refused = run(changed);
  ASSERT_FALSE(refused);
  EXPECT_EQ(exit_code(refused.error()), 2);
  EXPECT_THAT(refused.error().to_string(),
              HasSubstr("train.learning_rate was 0.001, is 0.0005 (--override"));
  EXPECT_THAT(refused.error().to_string(), testing::Not(HasSubstr("checkpoint_every")));
  finish(changed, /*override_options=*/true);
  EXPECT_THAT(lines_, Contains("overridden: train.learning_rate was 0.001, is 0.0005"));
  const auto lines = metrics("run");
  ASSERT_EQ(lines.size(), 5);  // 4 steps and the evaluation
  const double cosine = 0.5 * (1 + std::cos(M_PI / 4));
  EXPECT_NEAR(lines[1]["learning_rate"], 1e-3 * cosine, 1e-9);
  EXPECT_NEAR(lines[2]["learning_rate"], 5e-4 * 0.5, 1e-9);
}

TEST_F(TrainingRunTest, multistep_falls_at_its_milestones) {
  make_data(4, 0);
  finish(config("run",
                {"train.steps=10",
                 "train.schedule=multistep",
                 "train.milestones=[0.5, 0.8]",
                 "train.gamma=0.1"}));
  std::vector<double> rates;
  for (const auto& line : metrics("run")) rates.push_back(line["learning_rate"]);
  const std::vector<double> expected = {1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-5, 1e-5};
  ASSERT_EQ(rates.size(), expected.size());
  for (size_t i = 0; i < rates.size(); ++i) EXPECT_NEAR(rates[i], expected[i], 1e-12) << i;
}

TEST_F(TrainingRunTest, only_the_first_images_are_used_when_they_are_limited) {
  make_data(8, 3);
  for (int64_t i = 4; i < 8; ++i) std::filesystem::resize_file(train_image(i), 100);
  finish(config("limited", {"data.limit_images=4", "data.max_bad_images=0", "train.steps=8"}));
  EXPECT_THAT(lines_, Contains("data: 4 training images, 3 for validation, 4 categories"));
  EXPECT_EQ(metrics("limited")[7]["epoch"], 3);
  EXPECT_FALSE(run(config("all", {"data.max_bad_images=0"})));
}

TEST_F(TrainingRunTest, bf16_comes_near_the_losses_of_f32_and_keeps_f32_weights) {
  make_data(4, 0);
  finish(config("single", {"train.steps=1"}));
  finish(config("half", {"train.steps=1", "train.bf16=true"}));
  const auto single = metrics("single")[0];
  const auto half = metrics("half")[0];
  EXPECT_NE(single["loss"], half["loss"]);
  EXPECT_NEAR(half["loss"], single["loss"], 0.05 * single["loss"].get<double>());
  for (const auto& [name, tensor] : checkpoint("half", 1).tensors) {
    EXPECT_NE(tensor.scalar_type(), at::kBFloat16) << name;
  }
}

TEST_F(TrainingRunTest, the_model_that_is_written_is_the_average_where_there_is_one) {
  make_data(4, 0);
  for (const bool average : {false, true}) {
    const std::string out = average ? "average" : "last";
    finish(config(out, {fmt::format("train.ema_decay={}", average ? 0.9 : 0.0)}));
    const auto written = model_of(out).tensors;
    const auto kept = checkpoint(out, 4).tensors;
    const std::string name = "rpn.head.cls_logits.weight";
    EXPECT_EQ(at::equal(written.at(name), kept.at("model." + name)), !average);
    EXPECT_EQ(kept.contains("average." + name), average);
    if (average) {
      EXPECT_TRUE(at::equal(written.at(name), kept.at("average." + name)));
    }
  }
}

TEST_F(TrainingRunTest, without_a_validation_split_it_ends_without_an_evaluation) {
  make_data(4, 0);
  const auto result = run(config("run", {"train.eval_every=2"}));
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(result->eval_json, "");
  EXPECT_THAT(lines_, Contains(HasSubstr("no validation split was found")));
  EXPECT_FALSE(std::filesystem::exists(path("run/eval.json")));
  EXPECT_FALSE(std::filesystem::exists(path("run/pictures")));
  EXPECT_TRUE(std::filesystem::exists(path("run/model.safetensors")));
}

TEST_F(TrainingRunTest, images_without_an_object_have_the_same_five_losses) {
  make_data(4, 0);
  edit_annotations([](json& all) { all["annotations"] = json::array(); });
  finish(config("empty"));
  const auto lines = metrics("empty");
  ASSERT_EQ(lines.size(), 4);
  for (const auto& line : lines) {
    EXPECT_FALSE(line["skipped"]);
    for (const char* name : kLosses) ASSERT_TRUE(line.contains(name)) << name;
    EXPECT_GT(line["loss_objectness"], 0.0);
    EXPECT_GT(line["loss_classifier"], 0.0);
    for (const char* name : {"loss_box_reg", "loss_mask", "loss_rpn_box_reg"}) {
      EXPECT_EQ(line[name], 0.0) << name;
    }
  }
}

TEST_F(TrainingRunTest, one_of_a_thing_is_no_plural) {
  make_data(1, 1);
  edit_annotations([](json& all) { all["annotations"] = json::array(); });
  finish(config("run", {"train.steps=1", "train.global_batch=1", "train.base_batch=1"}));
  for (const auto& line : lines_) {
    for (const char* wrong : {" 1 steps", " 1 images", " 1 training images", " 1 threads"}) {
      EXPECT_THAT(" " + line, testing::Not(HasSubstr(wrong)));
    }
  }
  EXPECT_THAT(lines_, Contains(HasSubstr("1 step of 1 image;")));
}

}  // namespace
}  // namespace atl::train
