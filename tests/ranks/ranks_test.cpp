// Whole runs on several ranks against the same on one process, of the preset tiny as it is, and of a still smaller network with
// options of all kinds. The ranks are forked.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <signal.h>

#include <fstream>
#include <thread>

#include "base/keyed_random.h"
#include "dataset/image.h"
#include "parallel/forked_ranks.h"
#include "parallel/rank_semaphore.h"
#include "train/small_run.h"
#include "train/training_run.h"

namespace atl::train {
namespace {

using nlohmann::json;
using parallel::GroupOptions;
using parallel::kHearingOfKilled;
using parallel::RankEnd;
using parallel::RankJob;
using parallel::RankSemaphore;
using parallel::run_ranks;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view kAll;
constexpr std::string_view kLosses = "loss";

class RanksTest : public SmallRun {
 protected:
  // This program's own tensors are compared without threads of torch's.
  RanksTest() { at::set_num_threads(1); }

  using Ends = std::map<int, RankEnd>;
  // What a rank says at its end: "done", "stopped at N", or its error.
  static std::string train(const RunConfig& config,
                           const GroupOptions& place,
                           std::stop_source* stop = nullptr,
                           const std::function<void(const Progress&)>& on_progress = {},
                           const std::function<void(const std::string&)>& on_line = {},
                           bool override_options = false,
                           const OpenStore& open_store = nullptr) {
    std::stop_source never;
    const Console console{[&](const std::string& line) {
                            if (on_line) on_line(line);
                          },
                          [&](const Progress& progress) {
                            if (on_progress) on_progress(progress);
                          }};
    TrainingRun run(config,
                    override_options,
                    console,
                    (stop != nullptr ? *stop : never).get_token(),
                    place,
                    open_store);
    const auto result = run_training(run);
    if (!result) return fmt::format("{} {}", exit_code(result.error()), result.error().to_string());
    return result->stopped ? fmt::format("stopped at {}", result->steps) : "done";
  }
  static Ends train_on(int ranks, const RunConfig& config) {
    return run_ranks({.size = ranks},
                     [&](const GroupOptions& place) { return train(config, place); });
  }
  static void expect_done(const Ends& ends) {
    for (const auto& [rank, end] : ends)
      EXPECT_EQ(end.text, "done") << "rank " << rank << ", signal " << end.signal << ", after "
                                  << end.seconds;
  }
  RunConfig config_of(const std::string& out, const std::string& sets) const {
    std::vector<std::string> all = {
        "threads=1", "data.threads=1", "train.global_batch=4", "train.base_batch=4"};
    std::istringstream words(sets);
    for (std::string word; words >> word;) all.push_back(word);
    return config(out, all);
  }
  // Nothing of the preset is changed but how long it runs and how much of that is kept.
  RunConfig tiny_as_it_is(const std::string& out) const {
    auto parsed = parse_config({"",
                                "",
                                {"preset=tiny",
                                 "data.path=" + path("data"),
                                 "out=" + path(out),
                                 "device=cpu",
                                 "threads=1",
                                 "data.threads=1",
                                 "train.steps=3",
                                 "train.checkpoint_every=1"}});
    EXPECT_TRUE(parsed) << parsed.error().to_string();
    return *std::move(parsed);
  }
  void edit_annotations(const std::function<void(json&)>& edit) {
    json all = json::parse(text("data/annotations/instances_train2017.json"));
    edit(all);
    std::ofstream(path("data/annotations/instances_train2017.json")) << all.dump();
  }
  // So that some rank has no object in most steps.
  void empty_every_second_image() {
    edit_annotations([](json& all) {
      json kept = json::array();
      for (auto& object : all["annotations"]) {
        if (object["image_id"].get<int64_t>() % 2 == 0) kept.push_back(object);
      }
      all["annotations"] = kept;
    });
  }
  // Noise in every picture. Generated ones have large areas of one colour, where a rounding error turns the
  // ReLUs of a thousand equal pixels at once: then even one process comes 1e-2 apart from itself with another
  // number of threads, within five steps.
  void make_noisy(int64_t images) {
    for (int64_t image = 0; image < images; ++image) {
      dataset::Picture picture{64, 64, std::vector<uint8_t>(size_t{64} * 64 * 3)};
      KeyedRandom random({static_cast<uint64_t>(image)});
      for (uint8_t& value : picture.rgb) value = static_cast<uint8_t>(random.below(256));
      const auto file = *dataset::encode_jpeg(picture);
      std::ofstream(train_image(image), std::ios::binary)
          .write(reinterpret_cast<const char*>(file.data()),
                 static_cast<std::streamsize>(file.size()));
    }
  }
  // The distance between two runs' tensors after `step`, in units of how far the first one has come since
  // the checkpoint at `start`.
  double relative_distance(const std::string& first,
                           const std::string& second,
                           int64_t start,
                           int64_t step) {
    const auto began = checkpoint(first, start).tensors;
    const auto a = checkpoint(first, step).tensors;
    const auto b = checkpoint(second, step).tensors;
    double apart = 0;
    double moved = 0;
    for (const auto& [name, tensor] : a) {
      if (!name.starts_with("model.") || !tensor.is_floating_point()) continue;
      apart += (tensor - b.at(name)).to(at::kDouble).square().sum().item<double>();
      moved += (tensor - began.at(name)).to(at::kDouble).square().sum().item<double>();
    }
    EXPECT_GT(moved, 0);
    return std::sqrt(apart / moved);
  }
  void expect_same_tensors(const std::string& a, const std::string& b, int64_t step) {
    const auto first = checkpoint(a, step).tensors;
    const auto second = checkpoint(b, step).tensors;
    ASSERT_EQ(first.size(), second.size());
    for (const auto& [name, tensor] : first)
      EXPECT_TRUE(at::equal(tensor, second.at(name))) << name;
  }
  // Numbers of a step's line of metrics, relative to those of the first run, or to 1.
  void expect_near(const std::string& a,
                   const std::string& b,
                   size_t step,
                   std::string_view prefix,
                   double tolerance,
                   int at_least = 6) {
    const json first = metrics(a).at(step);
    const json second = metrics(b).at(step);
    int compared = 0;
    for (const auto& [key, value] : first.items()) {
      if (!value.is_number() || !key.starts_with(prefix)) continue;
      const auto wanted = value.get<double>();
      EXPECT_NEAR(second.at(key).get<double>(), wanted, tolerance * std::max(1.0, std::abs(wanted)))
          << b << ", step " << step << ", " << key;
      ++compared;
    }
    EXPECT_GE(compared, at_least);
  }
};

struct Parity {
  const char* name;
  const char* sets;
};

class SameAsOneProcess : public RanksTest, public testing::WithParamInterface<Parity> {};

INSTANTIATE_TEST_SUITE_P(
    Options,
    SameAsOneProcess,
    testing::Values(
        Parity{"batch_norm", "model.norm=batch"},
        Parity{"frozen_norm", "model.norm=frozen"},
        Parity{"batch_norm_accumulated", "model.norm=batch train.accumulation=2"},
        Parity{"frozen_norm_accumulated", "model.norm=frozen train.accumulation=2"},
        Parity{"sgd", "model.norm=batch train.optimizer=sgd train.learning_rate=0.02"},
        Parity{"uneven_shares",
               "train.global_batch=3 model.norm=batch train.optimizer=sgd train.learning_rate=0.02 "
               "train.clip_norm=0"}),
    [](const auto& info) { return info.param.name; });

// What is the same but for the order of sums is the same to a few roundings of f32, 6e-8 each, in the first
// step (measured: 4e-7), and in the losses of the second, made with weights that the first has changed
// (8e-6). From then on rounding grows as it does between one process and itself with another number of
// threads, where now and then a ReLU turns (in some steps to 2e-5 of the way that the weights have come, but to
// 2e-2 after an unlucky turn).
TEST_P(SameAsOneProcess, to_rounding_on_two_and_four_ranks) {
  make_data(12, 0);
  make_noisy(12);
  empty_every_second_image();
  const std::string sets =
      std::string("train.steps=4 train.checkpoint_every=1 train.ema_decay=0.9 ") + GetParam().sets;
  for (const int ranks : {1, 2, 4}) {
    const std::string out = fmt::format("on{}", ranks);
    expect_done(train_on(ranks, config_of(out, sets)));
    if (ranks == 1) continue;
    expect_near("on1", out, 0, kAll, 1e-5);
    expect_near("on1", out, 1, kLosses, 1e-4);
    const double distance = relative_distance("on1", out, 1, 4);
    RecordProperty(fmt::format("distance_on_{}", ranks), fmt::format("{:.2g}", distance));
    EXPECT_LT(distance, 0.05) << ranks << " ranks";
  }
}

// Each step begins where one process had come to, so that nothing but this step's own rounding is seen: 7e-8 in the losses of
// the RPN, 1e-6 in others, 1e-4 in the norm of the gradients, 7e-3 of the way that the weights go (measured). Of the 512
// RoIs that a step samples now and then one is another, where two proposals are alike to rounding: 2e-4 of a loss.
TEST_F(RanksTest, every_step_of_the_preset_tiny_is_the_same_on_two_and_four_ranks) {
  constexpr int64_t kSteps = 3;
  make_data(16, 0);
  make_noisy(16);
  empty_every_second_image();
  expect_done(train_on(1, tiny_as_it_is("on1")));
  for (const int ranks : {2, 4}) {
    for (int64_t start = 0; start < kSteps; ++start) {
      const std::string out = fmt::format("on{}_from{}", ranks, start);
      if (start > 0) {
        std::filesystem::copy(path("on1"), path(out), std::filesystem::copy_options::recursive);
        for (int64_t step = start + 1; step <= kSteps; ++step) {
          std::filesystem::remove(path(out + "/" + manifest_key(step)));
        }
      }
      expect_done(train_on(ranks, tiny_as_it_is(out)));
      const auto line = static_cast<size_t>(start);
      expect_near("on1", out, line, "loss_objectness", 5e-6, 1);
      expect_near("on1", out, line, "loss_rpn_box_reg", 5e-6, 1);
      expect_near("on1", out, line, kAll, 1e-3);
      if (start == 0) continue;
      EXPECT_LT(relative_distance("on1", out, start, start + 1), 0.05) << out;
    }
  }
}

TEST_F(RanksTest, half_precision_gradients_come_near_and_stay_the_same_on_all_ranks) {
  make_data(8, 0);
  make_noisy(8);
  const std::string sets = "train.optimizer=sgd train.learning_rate=0.02 train.checkpoint_every=1";
  // The same number of ranks: with the same type it would be the same to the last bit.
  expect_done(train_on(2, config_of("f32", sets)));
  for (const char* type : {"f16", "bf16"}) {
    expect_done(train_on(2, config_of(type, sets + " train.gradient_type=" + type)));
    const double distance = relative_distance("f32", type, 1, 4);
    EXPECT_GT(distance, 1e-6);
    EXPECT_LT(distance, 0.05);
  }
}

int gpus_here() {
  int gpus = 0;
  while (std::filesystem::exists(fmt::format("/dev/nvidia{}", gpus))) ++gpus;
  return gpus;
}

// On a GPU convolutions are not the same to the last bit from one run to the next, and so not from one rank to two.
TEST_F(RanksTest, two_gpus_come_near_one) {
  if (gpus_here() < 2) GTEST_SKIP() << "there are no two GPUs here";
  make_data(8, 6);
  make_noisy(8);
  const std::string sets = "device=cuda train.optimizer=sgd train.learning_rate=0.02";
  for (const int ranks : {1, 2}) {
    expect_done(run_ranks({.size = ranks}, [&](GroupOptions place) {
      place.local_rank = place.rank;
      return train(config_of(fmt::format("on{}", ranks), sets), place);
    }));
  }
  expect_near("on1", "on2", 0, kLosses, 1e-3);
}

TEST_F(RanksTest, a_rank_that_is_killed_on_a_gpu_is_named_by_the_other) {
  if (gpus_here() < 2) GTEST_SKIP() << "there are no two GPUs here";
  make_data(8, 0);
  const auto options = config_of("run", "device=cuda train.steps=100000");
  const RankJob job{.size = 2, .hearing = kHearingOfKilled};
  const auto ends = run_ranks(job, [&](GroupOptions place) {
    place.local_rank = place.rank;
    std::jthread killer([&](const std::stop_token& over) {
      while (place.rank == 1 && !over.stop_requested()) {
        std::error_code none;
        const auto written = std::filesystem::file_size(path("run/metrics.jsonl"), none);
        if (!none && written > 0) ::raise(SIGKILL);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
    return train(options, place);
  });
  EXPECT_THAT(ends.at(0).text, StartsWith("1 rank 1 on "));
}

// The weights are the same, as the rate is 0 and norms are frozen: so are all numbers, to the last bit.
TEST_F(RanksTest, an_evaluation_has_every_image_once_and_the_numbers_of_one_process) {
  make_data(4, 13);
  const std::string sets = "train.steps=1 train.learning_rate=0 model.norm=frozen";
  for (const int ranks : {1, 2, 3}) {
    const std::string out = fmt::format("on{}", ranks);
    expect_done(train_on(ranks, config_of(out, sets)));
    if (ranks == 1) continue;
    for (const char* file : {"model.safetensors", "eval.json", "predictions.json"}) {
      EXPECT_TRUE(text("on1/" + std::string(file)) == text(out + "/" + file))
          << file << " on " << ranks;
    }
  }
  EXPECT_GT(json::parse(text("on1/predictions.json")).size(), 13);
}

TEST_F(RanksTest, an_evaluation_goes_on_round_after_round) {
  make_data(4, 23);
  // One image a batch: 12, 8 and 6 batches for a rank, of which the first round has one and others 8 at most.
  const std::string sets =
      "train.steps=1 train.learning_rate=0 model.norm=frozen train.accumulation=4";
  for (const int ranks : {1, 2, 3, 4}) {
    const std::string out = fmt::format("on{}", ranks);
    expect_done(train_on(ranks, config_of(out, sets)));
    if (ranks == 1) continue;
    const std::string trace = text(out + "/trace.json");
    size_t rounds = 0;
    for (size_t at = trace.find("an evaluation's results"); at != trace.npos;
         at = trace.find("an evaluation's results", at + 1)) {
      ++rounds;
    }
    EXPECT_GE(rounds, 4) << ranks;  // a round is two collectives: lengths, bytes
    for (const char* file : {"eval.json", "predictions.json"}) {
      EXPECT_TRUE(text("on1/" + std::string(file)) == text(out + "/" + file))
          << file << " on " << ranks;
    }
  }
}

TEST_F(RanksTest, unreadable_validation_images_are_named_by_rank_0_and_count_together) {
  make_data(4, 13);
  for (const int64_t image : {0, 5, 6, 12}) {
    std::filesystem::resize_file(path(fmt::format("data/val2017/{:012}.jpg", image)), 100);
  }
  const std::string sets = "train.steps=1 train.learning_rate=0 model.norm=frozen";
  std::vector<std::string> said;
  for (const int ranks : {1, 2, 3}) {
    const std::string out = fmt::format("on{}", ranks);
    const auto ends = run_ranks({.size = ranks}, [&](const GroupOptions& place) {
      std::vector<std::string> skipped;
      const auto note = [&](const std::string& line) {
        if (line.starts_with("skipped: ")) skipped.push_back(line);
      };
      std::string end =
          train(config_of(out, sets + " data.max_bad_images=4"), place, nullptr, {}, note);
      std::ranges::sort(skipped);
      return fmt::format("{}\n{}", end, fmt::join(skipped, "\n"));
    });
    for (const auto& [rank, end] : ends) EXPECT_THAT(end.text, StartsWith("done\n")) << rank;
    said.push_back(ends.at(0).text);
    EXPECT_EQ(said.back(), said.front()) << ranks;
    EXPECT_TRUE(text("on1/eval.json") == text(out + "/eval.json")) << ranks;
  }
  EXPECT_THAT(said.front(), AllOf(HasSubstr("000000000000.jpg"), HasSubstr("000000000012.jpg")));
  const auto ends = train_on(2, config_of("few", sets + " data.max_bad_images=3"));
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(end.text, HasSubstr("4 unreadable images, 3 allowed: ")) << rank;
    for (const int image : {0, 5, 6, 12}) {
      EXPECT_THAT(end.text, HasSubstr(fmt::format("{:012}.jpg", image))) << rank;
    }
  }
}

// Nobody knows how long a batch takes, so the first round is one batch of each rank.
TEST_F(RanksTest, a_stop_in_an_evaluation_is_heard_after_a_batch) {
  make_data(4, 24);
  const auto ends = run_ranks({.size = 2}, [&](const GroupOptions& place) {
    std::stop_source stop;
    int64_t evaluated = 0;
    const auto look = [&](const Progress& progress) {
      if (progress.phase != std::string_view("evaluate")) return;
      evaluated = progress.done;
      stop.request_stop();
    };
    const auto end = train(config_of("run", "train.steps=1"), place, &stop, look);
    return fmt::format("{}, {} images", end, evaluated);
  });
  EXPECT_EQ(ends.at(0).text, "stopped at 1, 8 images");
  EXPECT_EQ(ends.at(1).text, "stopped at 1, 0 images");
}

TEST_F(RanksTest,
       a_stop_of_one_rank_stops_all_at_one_step_and_the_same_command_goes_on_bit_for_bit) {
  make_data(8, 0);  // an evaluation would ask, too
  const std::string sets = "train.steps=6 train.ema_decay=0.9";
  expect_done(train_on(3, config_of("whole", sets)));
  const auto options = config_of("parts", sets);
  const RankSemaphore stepped;
  const RankSemaphore requested;
  const auto ends = run_ranks({.size = 3}, [&](const GroupOptions& place) {
    std::stop_source stop;
    // Rank 2 has no progress to see: rank 0 tells it of the first step, and waits until it is to stop.
    std::jthread stopper([&] {
      if (place.rank != 2) return;
      stepped.acquire();
      stop.request_stop();
      requested.release();
    });
    return train(options, place, &stop, [&](const Progress& progress) {
      if (progress.done != 1) return;
      stepped.release();
      requested.acquire();
    });
  });
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(end.text, StartsWith("stopped at ")) << rank;
    EXPECT_EQ(end.text, ends.at(0).text) << rank;
  }
  ASSERT_THAT(ends.at(0).text, testing::MatchesRegex("stopped at [1-5]"));
  expect_done(train_on(3, options));
  expect_same_tensors("whole", "parts", 6);
  EXPECT_EQ(metrics("whole"), metrics("parts"));
}

TEST_F(RanksTest, bad_images_of_all_ranks_count_together) {
  make_data(8, 0);
  for (const int64_t image : {1, 3, 5}) std::filesystem::resize_file(train_image(image), 100);
  const auto ends = train_on(2, config_of("few", "train.steps=4 data.max_bad_images=2"));
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(end.text,
                AllOf(StartsWith("2 3 images could not be read: "),
                      HasSubstr("000000000001.jpg"),
                      HasSubstr("000000000003.jpg"),
                      HasSubstr("000000000005.jpg")))
        << rank;
  }
  expect_done(train_on(2, config_of("enough", "train.steps=4 data.max_bad_images=3")));
  EXPECT_EQ(checkpoint("enough", 4).state.bad_images.size(), 3);
}

// The lines have each machine's paths; the image is what counts, also in a run that goes on.
TEST_F(RanksTest, an_image_that_two_ranks_miss_at_different_places_is_one_bad_image) {
  make_data(4, 0);
  for (const int64_t image : {1, 2}) std::filesystem::remove(train_image(image));
  std::filesystem::copy(path("data"), path("elsewhere"), std::filesystem::copy_options::recursive);
  const auto train_for = [&](int steps) {
    // Every step has all images, in another order: over eight of them each is on either rank.
    return run_ranks({.size = 2}, [&](const GroupOptions& place) {
      auto options = config_of("run", fmt::format("train.steps={} data.max_bad_images=2", steps));
      if (place.rank == 1) options.data.path = path("elsewhere");
      return train(options, place, nullptr, {}, {}, /*override_options=*/true);
    });
  };
  expect_done(train_for(8));
  EXPECT_THAT(
      checkpoint("run", 8).state.bad_images,
      testing::UnorderedElementsAre(HasSubstr("000000000001.jpg"), HasSubstr("000000000002.jpg")));
  expect_done(train_for(16));
  EXPECT_EQ(checkpoint("run", 16).state.bad_images.size(), 2);
}

// Nobody can read any image.
TEST_F(RanksTest, a_step_of_which_nothing_can_be_read_is_skipped_by_all) {
  make_data(4, 0);
  for (int64_t image = 0; image < 4; ++image) std::filesystem::resize_file(train_image(image), 100);
  const auto ends = train_on(2, config_of("run", "train.max_bad_steps=2"));
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(end.text, HasSubstr("2 steps skipped in a row, up to step 2")) << rank;
  }
}

TEST_F(RanksTest, a_key_that_differs_is_named_and_a_machine_s_own_may_differ) {
  make_data(4, 0);
  const auto ends = run_ranks({.size = 2}, [&](const GroupOptions& place) {
    return train(config_of("run", place.rank == 1 ? "train.clip_norm=3 threads=2" : ""), place);
  });
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(end.text, StartsWith("2 the ranks do not agree: train.clip_norm is 5.0 on rank 0"))
        << rank;
    EXPECT_THAT(end.text, HasSubstr("but 3.0 on rank 1")) << rank;
  }
  std::filesystem::copy(path("data"), path("elsewhere"), std::filesystem::copy_options::recursive);
  const auto own = [&](const GroupOptions& place) {
    auto options = config_of("run", place.rank == 1 ? "threads=2 data.batches_ahead=2" : "");
    if (place.rank == 1) options.data.path = path("elsewhere");
    return train(options, place);
  };
  expect_done(run_ranks({.size = 2}, own));
  std::filesystem::remove_all(path("run"));
  std::filesystem::rename(path("elsewhere"), path("kept"));
  {
    json all = json::parse(text("kept/annotations/instances_train2017.json"));
    all["images"].erase(0);
    json objects = json::array();
    for (auto& object : all["annotations"]) {
      if (object["image_id"] != 0) objects.push_back(object);
    }
    all["annotations"] = objects;
    std::filesystem::rename(path("kept"), path("elsewhere"));
    std::ofstream(path("elsewhere/annotations/instances_train2017.json")) << all.dump();
  }
  const auto differ = run_ranks({.size = 2}, own);
  for (const auto& [rank, end] : differ)
    EXPECT_THAT(end.text, HasSubstr("its data are not those of rank 0")) << rank;
  EXPECT_THAT(differ.at(0).text, StartsWith("2 rank 1 on "));
}

// A directory whose disk is full for one shard of one step.
class FullDisk : public storage::LocalStore {
 public:
  FullDisk(const std::string& root, std::string key) : LocalStore(root), key_(std::move(key)) {}
  Result<void> put(std::string_view key,
                   std::span<const std::span<const std::byte>> parts) override {
    if (key == key_) return fail(ErrorCode::kIo, "No space left on device");
    return LocalStore::put(key, parts);
  }

 private:
  std::string key_;
};

TEST_F(RanksTest, every_rank_writes_its_shard_and_any_number_of_ranks_goes_on) {
  make_data(8, 0);
  make_noisy(8);
  const std::string sets = "train.steps=6 train.checkpoint_every=1 train.optimizer=sgd";
  expect_done(train_on(2, config_of("whole", sets)));
  expect_done(train_on(1, config_of("one", sets)));
  const auto size = [&](const std::string& out, size_t shard, size_t shards) {
    return static_cast<double>(
        std::filesystem::file_size(path(out + "/" + shard_key(6, shard, shards))));
  };
  EXPECT_NEAR(size("whole", 0, 2), size("whole", 1, 2), 0.1 * size("whole", 0, 2));
  EXPECT_NEAR(size("whole", 0, 2) + size("whole", 1, 2), size("one", 0, 1), 2000);
  EXPECT_FALSE(std::filesystem::exists(path("whole/atoll-ranks-here")));
  EXPECT_THAT(checkpoints("whole"), testing::ElementsAre(1, 2, 3, 4, 5, 6));
  // Two have written it; one and three go on after step 4.
  for (const int ranks : {1, 2, 3}) {
    const std::string out = fmt::format("on{}", ranks);
    std::filesystem::copy(path("whole"), path(out), std::filesystem::copy_options::recursive);
    for (const int64_t step : {5, 6}) {
      std::filesystem::remove(path(out + "/" + manifest_key(step)));
    }
    expect_done(train_on(ranks, config_of(out, sets)));
    expect_same_tensors("whole", out, 4);
    EXPECT_EQ(metrics(out).size(), 6) << ranks;
    if (ranks == 2) {
      expect_same_tensors("whole", out, 6);
      EXPECT_EQ(metrics("whole"), metrics(out));
    } else {
      EXPECT_LT(relative_distance("whole", out, 4, 6), 0.05) << ranks;
    }
  }
}

TEST_F(RanksTest, a_disk_that_is_full_on_one_rank_costs_one_checkpoint) {
  make_data(8, 0);
  std::filesystem::create_directory(path("run"));
  const auto options = config_of("run", "train.steps=4 train.checkpoint_every=1");
  const auto ends = run_ranks({.size = 3}, [&](const GroupOptions& place) {
    const OpenStore open = [&](const std::string&,
                               bool) -> Result<std::shared_ptr<storage::ObjectStore>> {
      const std::string full = place.rank == 2 ? shard_key(3, 2, 3) : "";
      return std::make_shared<FullDisk>(path("run"), full);
    };
    std::string said;
    const auto hear = [&](const std::string& line) {
      if (line.starts_with("warning: ") && line.find("still being written") == std::string::npos) {
        said += line;
      }
    };
    const auto end = train(options, place, nullptr, {}, hear, /*override_options=*/false, open);
    return end + " " + said;
  });
  EXPECT_THAT(ends.at(0).text,
              AllOf(StartsWith("done warning: checkpoint at step 3: rank 2: No space left on "
                               "device; the last good one is at step 2; it takes "),
                    Not(HasSubstr("step 4"))));
  EXPECT_EQ(ends.at(1).text, "done ");
  EXPECT_THAT(checkpoints("run"), testing::ElementsAre(1, 2, 4));
  // The shards of the others are removed with it.
  storage::LocalStore store(path("run"));
  EXPECT_TRUE(store.list("checkpoints/step-00000003", [](const storage::ObjectInfo& info) {
    ADD_FAILURE() << info.key;
    return true;
  }));
}

// A directory on rank 0's machine that no other has.
TEST_F(RanksTest, ranks_that_do_not_see_the_output_leave_the_writing_to_those_that_do) {
  make_data(8, 0);
  const auto ends = run_ranks({.size = 3}, [&](const GroupOptions& place) {
    auto options = config_of("run", "train.steps=3 train.checkpoint_every=1");
    if (place.rank == 2) options.out = path("elsewhere");
    std::string said;
    const auto end = train(options, place, nullptr, {}, [&](const std::string& line) {
      if (line.find(" ranks see ") != std::string::npos) said = line;
    });
    return end + " " + said;
  });
  EXPECT_EQ(ends.at(0).text,
            fmt::format("done 2 of 3 ranks see {}: they write the checkpoints", path("run")));
  EXPECT_EQ(ends.at(2).text, "done ");
  EXPECT_FALSE(std::filesystem::exists(path("elsewhere")));
  EXPECT_THAT(checkpoints("run"), testing::ElementsAre(1, 2, 3));
  EXPECT_TRUE(std::filesystem::exists(path("run/" + shard_key(3, 1, 2))));
}

// A checkpoint that is in flight when the ranks are told to stop.
TEST_F(RanksTest, a_stop_finishes_the_checkpoint_in_flight_and_writes_one_of_the_last_step) {
  make_data(8, 0);
  const auto options = config_of("run", "train.steps=100000 train.checkpoint_every=2");
  const auto ends = run_ranks({.size = 2}, [&](const GroupOptions& place) {
    std::stop_source stop;
    return train(options, place, &stop, [&](const Progress& progress) {
      if (progress.done == 3) stop.request_stop();
    });
  });
  EXPECT_EQ(ends.at(0).text, "stopped at 3");
  EXPECT_EQ(ends.at(1).text, "stopped at 3");
  EXPECT_THAT(checkpoints("run"), testing::ElementsAre(2, 3));
  EXPECT_EQ(checkpoint("run", 3).state.step, 3);
  EXPECT_EQ(metrics("run").size(), 3);
}

// Rank 1 dies in the middle of the training; rank 0 keeps what was done.
TEST_F(RanksTest, a_killed_rank_is_named_and_the_steps_before_are_kept) {
  make_data(8, 0);
  const auto options = config_of("run", "train.steps=100000 train.checkpoint_every=100000");
  const RankJob job{.size = 3, .hearing = kHearingOfKilled};
  const auto ends = run_ranks(job, [&](const GroupOptions& place) {
    std::jthread killer([&](const std::stop_token& over) {
      if (place.rank != 1) return;
      while (!over.stop_requested()) {
        std::error_code none;
        const auto written = std::filesystem::file_size(path("run/metrics.jsonl"), none);
        if (!none && written > 0) ::raise(SIGKILL);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
    return train(options, place);
  });
  EXPECT_EQ(ends.at(1).signal, SIGKILL);
  for (const int rank : {0, 2}) {
    EXPECT_THAT(ends.at(rank).text, StartsWith("1 rank 1 on ")) << rank;
    EXPECT_THAT(ends.at(rank).text, HasSubstr("was lost in ")) << rank;
  }
  EXPECT_THAT(ends.at(0).text, testing::ContainsRegex("the same command goes on after step [1-9]"));
}

}  // namespace
}  // namespace atl::train
