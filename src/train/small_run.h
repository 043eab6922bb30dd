// For tests: a folder of its own with generated shapes, a network that takes a few hundredths of a
// second a step, and a console that remembers.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stop_token>
#include <string>
#include <vector>

#include "dataset/synth.h"
#include "storage/local_store.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/train.h"

namespace atl::train {

class SmallRun : public ::testing::Test {
 protected:
  SmallRun() {
    std::string name = (std::filesystem::temp_directory_path() / "atoll-train-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~SmallRun() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  void make_data(int64_t train_images = 8, int64_t val_images = 2) {
    storage::LocalStore store(path("data"));
    const auto made = dataset::synthesise(
        store, {.train_images = train_images, .val_images = val_images, .size_px = 64, .seed = 3});
    ASSERT_TRUE(made) << made.error().to_string();
  }
  std::string train_image(int64_t index) const {
    return path(fmt::format("data/train2017/{:012}.jpg", index));
  }

  // 4 steps of 2 images into `out`, no checkpoint before the end; `sets` lie over that.
  RunConfig config(const std::string& out, const std::vector<std::string>& sets = {}) const {
    std::vector<std::string> all = {"preset=tiny",
                                    "data.path=" + path("data"),
                                    "out=" + path(out),
                                    "device=cpu",
                                    "threads=2",
                                    "data.threads=2",
                                    "train.steps=4",
                                    "train.global_batch=2",
                                    "train.base_batch=2",
                                    "train.warmup_steps=0",
                                    "train.learning_rate=1e-3",
                                    "train.checkpoint_every=1000",
                                    "train.keep_checkpoints=1000",
                                    "model.min_size_px=64",
                                    "model.max_size_px=64",
                                    "model.stem_width=8",
                                    "model.fpn_channels=16",
                                    "model.rpn_post_nms_top_n_train=50",
                                    "model.rpn_post_nms_top_n_test=20",
                                    "model.box_head_channels=32",
                                    "model.box_batch_per_image=16",
                                    "model.detections_per_image=10",
                                    "model.mask_conv_channels=[8]",
                                    "model.mask_deconv_channels=8"};
    all.insert(all.end(), sets.begin(), sets.end());
    auto parsed = parse_config({"", "", all});
    EXPECT_TRUE(parsed) << parsed.error().to_string();
    return *std::move(parsed);
  }

  Result<TrainResult> run(const RunConfig& config, bool override_options = false) {
    lines_.clear();
    steps_seen_ = 0;
    const Console console{[this](const std::string& line) {
                            lines_.push_back(line);
                            if (on_line_) on_line_(line);
                          },
                          [this](const Progress& progress) {
                            if (progress.phase == std::string_view("train")) {
                              steps_seen_ = progress.done;
                            }
                            if (on_progress_) on_progress_(progress);
                          }};
    return run_training(config, override_options, console, stop_.get_token());
  }
  // Ends the test where the run fails.
  void finish(const RunConfig& config, bool override_options = false) {
    const auto result = run(config, override_options);
    ASSERT_TRUE(result) << result.error().to_string();
    ASSERT_FALSE(result->stopped);
  }

  std::string text(const std::string& file) const {
    storage::LocalStore store(folder_.string());
    const auto blob = store.get(file);
    EXPECT_TRUE(blob) << blob.error().to_string();
    return blob ? std::string(blob->text()) : std::string();
  }
  Checkpoint checkpoint(const std::string& out, int64_t step) const {
    storage::LocalStore store(path(out));
    auto read = read_checkpoint(store, step);
    EXPECT_TRUE(read) << read.error().to_string();
    return read ? *std::move(read) : Checkpoint{};
  }
  // Of those whose manifest is there, oldest first.
  std::vector<int64_t> checkpoints(const std::string& out) const {
    storage::LocalStore store(path(out));
    auto steps = list_checkpoints(store);
    EXPECT_TRUE(steps) << steps.error().to_string();
    if (!steps) return {};
    std::ranges::reverse(*steps);
    return *std::move(steps);
  }
  // The lines of metrics.jsonl, without what takes time.
  std::vector<nlohmann::json> metrics(const std::string& out) const {
    return metrics_of(text(out + "/metrics.jsonl"));
  }
  static std::vector<nlohmann::json> metrics_of(const std::string& text) {
    std::vector<nlohmann::json> lines;
    std::istringstream all(text);
    for (std::string line; std::getline(all, line);) {
      auto json = nlohmann::json::parse(line);
      json.erase("images_per_s");
      json.erase("data_wait_share");
      json.erase("gradient_sum_s");
      json.erase("gradient_sum_hidden");
      lines.push_back(std::move(json));
    }
    return lines;
  }

  std::filesystem::path folder_;
  std::vector<std::string> lines_;  // of the last run
  int64_t steps_seen_ = 0;          // of the last run, as the console was told
  std::function<void(const std::string&)> on_line_;
  std::function<void(const Progress&)> on_progress_;
  std::stop_source stop_;
};

}  // namespace atl::train
