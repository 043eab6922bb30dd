// One rank of `./run bench ddp`, driven by bench/ddp.py, which asks all ranks at once: a step of the trainer over the
// ranks, from decoded pictures of the final size to changed weights.
//
//   ddp_bench --rank R --size N --port P --inputs F.safetensors --weights W.safetensors --config C.json --threads T
//
// On stdin: "run" -> {"seconds": s, "check": loss, "sum_s": s, "hidden": 0..1}; "trace FOLDER" -> {}, with the trace of all
// steps so far in FOLDER/trace-R.json. The inputs hold the pictures of all ranks, in order of the ranks. The rate is 0, so that
// every step does the same work.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "model_inputs.h"
#include "parallel/group.h"
#include "rank_options.h"
#include "train/trainer.h"

namespace atl {
namespace {

class Rank {
 public:
  Rank(const bench::WordOptions& options, parallel::Group& group, trace::Tracer& tracer)
      : trainer_(run_config(),
                 bench::read_config(options.at("--config")),
                 at::kCPU,
                 /*steps=*/1'000'000,
                 &tracer,
                 &group) {
    bench::load_weights(trainer_.model(), options.at("--weights"));
    const auto all = bench::read_pictures(options.at("--inputs"));
    const size_t share = all.size() / static_cast<size_t>(group.size());
    const size_t first = share * static_cast<size_t>(group.rank());
    for (size_t i = first; i < first + share; ++i) {
      pictures_.push_back(all[i]);
      targets_.push_back(all[i].target);
    }
  }

  std::string step() {
    const auto begin = std::chrono::steady_clock::now();
    trainer_.begin_step(step_++);
    trainer_.accumulate({bench::to_batch(pictures_, trainer_.model().config()), targets_, {}});
    const auto result = trainer_.finish_step();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    const auto sums = result.sum_times.value_or(parallel::SumTimes());
    return fmt::format(
        "{{\"seconds\": {:.6f}, \"check\": {:.6g}, \"updated\": {}, \"sum_s\": {:.6f}, \"hidden\": "
        "{:.4f}}}",
        elapsed.count(),
        result.loss,
        result.updated,
        sums.under_way_s,
        sums.hidden_share());
  }

 private:
  static train::RunConfig run_config() {
    train::RunConfig config;
    config.train.learning_rate = 0;
    config.train.warmup_steps = 0;
    return config;
  }

  train::Trainer trainer_;
  std::vector<bench::Picture> pictures_;
  std::vector<model::Target> targets_;
  int64_t step_ = 0;
};

int run(int argc, char** argv) {
  const auto options = bench::read_options(argc, argv);
  at::set_num_threads(std::stoi(options.at("--threads")));
  trace::Tracer tracer;
  tracer.name_thread("training");
  auto place = bench::place_of(options);
  place.tracer = &tracer;
  auto group = bench::value_or_exit(parallel::Group::join(place, at::kCPU, {}));
  {
    Rank rank(options, group, tracer);
    std::string command;
    while (std::getline(std::cin, command)) {
      if (command.starts_with("trace ")) {
        std::ofstream(fmt::format("{}/trace-{}.json", command.substr(6), group.rank()))
            << tracer.to_json();
        std::cout << "{}" << std::endl;
        continue;
      }
      std::cout << rank.step() << std::endl;
    }
  }
  (void)group.finish();  // nothing is left to be lost
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) { return atl::run(argc, argv); }
