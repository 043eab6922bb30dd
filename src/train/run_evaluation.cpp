// The checkpoints of a run, evaluated by a process beside it as they come: the newest one that is whole, and
// when that is done the next newest. Between the two processes there is nothing but the run's store.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/bytes.h"
#include "base/rest.h"
#include "train/append_log.h"
#include "train/checkpoint.h"
#include "train/device.h"
#include "train/evaluation.h"
#include "train/metrics.h"

namespace atl::train {
namespace {

constexpr const char* kLog = "eval.jsonl";

// What was evaluated before, and its lines, without one that a crash has cut.
struct Before {
  std::set<int64_t> steps;
  uint64_t size_bytes = 0;
};

Result<Before> read_log(storage::ObjectStore& store) {
  Before before;
  // Asked of the store as it is now: the log is cut where what is read here ends, and another machine may have written to it.
  const auto there = store.head(kLog);
  if (!there && there.error().code == ErrorCode::kNotFound) return before;
  if (!there) return tl::unexpected(there.error());
  const auto blob = store.get(kLog);
  if (!blob && blob.error().code == ErrorCode::kNotFound) return before;
  if (!blob) return tl::unexpected(blob.error());
  const std::string_view text = blob->text();
  while (before.size_bytes < text.size()) {
    const size_t end = text.find('\n', before.size_bytes);
    if (end == std::string_view::npos) break;
    const auto line = nlohmann::json::parse(text.substr(before.size_bytes, end - before.size_bytes),
                                            nullptr,
                                            /*allow_exceptions=*/false);
    if (line.is_object() && line.contains("step") && line["step"].is_number_integer()) {
      before.steps.insert(line["step"].get<int64_t>());
    }
    before.size_bytes = end + 1;
  }
  return before;
}

class RunEvaluation {
 public:
  RunEvaluation(const EvaluateOptions& options, const Console& console, const std::stop_token& stop)
      : options_(options), console_(console), stop_(stop) {}

  Result<std::string> run() {
    configure_torch(options_.threads);
    device_ = ATOLL_TRY(choose_device(options_.device));
    store_ = ATOLL_TRY_CONTEXT(storage::open_store(options_.run), "the run");
    ATOLL_TRY(take_in_log());
    if (!options_.out.empty()) {
      out_ = ATOLL_TRY_CONTEXT(storage::open_store(options_.out, true), "the output directory");
    }
    if (options_.follow) {
      say(fmt::format("following {}: looking for a new checkpoint every {}",
                      store_->uri(),
                      format_duration(options_.look_every)));
    }
    for (;;) {
      const auto checkpoint = ATOLL_TRY(newest());
      if (checkpoint) {
        if (!is_done(checkpoint->state.step)) {
          ATOLL_TRY(take_in_log());
          if (!is_done(checkpoint->state.step)) ATOLL_TRY(evaluate_one(*checkpoint));
        }
        if (!options_.follow || checkpoint->state.step >= checkpoint->state.steps) break;
      } else if (!options_.follow) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("there is no checkpoint in {}", store_->uri()),
                    "name the output directory of a run, or wait for its first one with --follow");
      }
      if (!rest(options_.look_every, stop_)) {
        return fail(ErrorCode::kCancelled,
                    "the evaluation was stopped",
                    "the same command goes on with what has not been evaluated");
      }
    }
    say(last_json_.empty()
            ? fmt::format("all of {} was evaluated before: see its {}", store_->uri(), kLog)
            : fmt::format("done: the numbers are in {}/{}", store_->uri(), kLog));
    return last_json_;
  }

 private:
  void say(const std::string& line) const {
    if (console_.line) console_.line(line);
  }

  // The newest whole one; where that was evaluated already, without its tensors. nullopt: none yet.
  Result<std::optional<Checkpoint>> newest() {
    for (const int64_t step : ATOLL_TRY(list_checkpoints(*store_))) {
      if (damaged_.contains(step)) continue;
      if (is_done(step)) {
        auto state = ATOLL_TRY(read_state(step));
        if (!state) continue;
        return Checkpoint{*std::move(state), {}};
      }
      auto checkpoint = read_checkpoint(*store_, step);
      if (checkpoint) return *std::move(checkpoint);
      ATOLL_TRY(pass_over(step, checkpoint.error()));
    }
    return std::nullopt;
  }
  Result<std::optional<RunState>> read_state(int64_t step) {
    const auto text = store_->get(manifest_key(step));
    if (!text && text.error().code != ErrorCode::kNotFound) return tl::unexpected(text.error());
    if (!text) return std::nullopt;
    auto manifest = manifest_from_text(text->text(), manifest_key(step));
    if (manifest) return std::move(manifest->state);
    ATOLL_TRY(pass_over(step, manifest.error()));
    return std::nullopt;
  }
  // The run may have removed it while it was being read; then there is a newer one by now.
  Result<void> pass_over(int64_t step, const Error& error) {
    const auto there = store_->head(manifest_key(step));
    if (!there && there.error().code == ErrorCode::kNotFound) return {};
    if (error.code != ErrorCode::kCorrupt) return tl::unexpected(error);
    damaged_.insert(step);
    say(fmt::format("passed over a damaged checkpoint: {}", error.to_string()));
    return {};
  }

  Result<void> evaluate_one(const Checkpoint& checkpoint) {
    const RunState& state = checkpoint.state;
    if (!split_) ATOLL_TRY(open_data(state));
    ATOLL_TRY(check_categories(state.categories, *split_, options_.run));
    model::ModelConfig config = config_.model;
    config.num_classes = static_cast<int64_t>(state.categories.ids.size()) + 1;
    model::MaskRcnn model(config, *device_, config_.train.seed);
    // What a run leaves as its model: the average, where there is one.
    auto weights = with_prefix_removed(checkpoint.tensors, "model");
    for (const auto& [name, tensor] : with_prefix_removed(checkpoint.tensors, "average")) {
      weights[name] = tensor;
    }
    ATOLL_TRY_CONTEXT(model.load_state(weights), manifest_key(state.step));
    const EvaluationSettings settings{.threads = options_.threads,
                                      .batch = options_.batch,
                                      .max_bad_images = max_bad_images() - split_->bad_records,
                                      .bad_limit_name = kMaxBadImagesOption};
    const bool files = !options_.out.empty();
    std::optional<PredictionsFile> predictions;
    if (files) predictions = ATOLL_TRY(PredictionsFile::create());
    const auto result = ATOLL_TRY(evaluate(model,
                                           state.categories,
                                           *split_,
                                           settings,
                                           files ? &*predictions : nullptr,
                                           console_,
                                           stop_,
                                           nullptr));
    for (const auto& bad : result.bad_images) say("skipped: " + bad);
    say(fmt::format("step {} of {}: {}", state.step, state.steps, headline(result.evaluation)));
    if (!options_.follow) print_tables(result.evaluation, console_);
    if (files) {
      ATOLL_TRY(write_evaluation(*out_, result.evaluation, *std::move(predictions)));
    }
    last_json_ = result.evaluation.to_json();
    if (partial()) {
      done_.insert(state.step);
      return {};
    }
    return write_to_log(state.step, result.evaluation);
  }

  // What stands in the log by now: others may follow the same run. Gives how much of it is whole.
  Result<uint64_t> take_in_log() {
    auto before = ATOLL_TRY_CONTEXT(read_log(*store_), "the evaluations of before");
    done_.merge(before.steps);
    return before.size_bytes;
  }
  Result<void> write_to_log(int64_t step, const eval::Evaluation& evaluation) {
    const uint64_t whole_bytes = ATOLL_TRY(take_in_log());
    if (!done_.insert(step).second) return {};
    auto log = ATOLL_TRY(AppendLog::open(*store_, kLog, whole_bytes));
    log.add(to_json_line(step, evaluation));
    ATOLL_TRY_CONTEXT(log.flush(), kLog);
    return store_->flush();
  }

  int64_t max_bad_images() const {
    return options_.max_bad_images.value_or(config_.data.max_bad_images);
  }
  // A part of the data says nothing of the run's own evaluations.
  bool partial() const { return options_.limit_images > 0; }
  bool is_done(int64_t step) const {
    return done_.contains(step) && (options_.follow || (options_.out.empty() && !partial()));
  }

  // The run's own validation split, unless another is named.
  Result<void> open_data(const RunState& state) {
    config_ = ATOLL_TRY_CONTEXT(parse_config({"checkpoint", state.config, {}}),
                                "the configuration of the run");
    const auto& data = config_.data;
    const bool own = options_.data.empty();
    split_ = ATOLL_TRY_CONTEXT(
        open_split({.path = own ? data.path : options_.data,
                    .split = dataset::Split::kVal,
                    .annotations = own ? data.val_annotations : options_.annotations,
                    .images = own ? data.val_images : options_.images,
                    .limit_images = own ? data.validation_limit() : options_.limit_images,
                    .bad_limit_name = kMaxBadImagesOption,
                    .max_bad_records = max_bad_images(),
                    .threads = options_.threads,
                    .console = console_,
                    .stop = stop_}),
        own ? "the run's data (--data says where they are on this machine)" : "the data");
    if (!split_->note.empty()) say(split_->note);
    return {};
  }

  const EvaluateOptions& options_;
  const Console& console_;
  const std::stop_token& stop_;
  std::optional<at::Device> device_;
  std::unique_ptr<storage::ObjectStore> store_;
  std::unique_ptr<storage::ObjectStore> out_;  // where the files are wanted, too
  std::set<int64_t> done_;                     // steps, also of before and by others
  std::set<int64_t> damaged_;                  // that were passed over
  RunConfig config_;                           // of the run
  std::optional<Split> split_;
  std::string last_json_;
};

}  // namespace

Result<std::string> evaluate_run(const EvaluateOptions& options,
                                 const Console& console,
                                 const std::stop_token& stop) {
  return RunEvaluation(options, console, stop).run();
}

}  // namespace atl::train
