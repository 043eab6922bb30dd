// The training loop. A step is: micro-batches from the loader, forward and backward pass of each,
// one update.
//
// The order of events at a step s makes a resumed run repeat exactly what an uninterrupted one
// does: step, metrics line, checkpoint (which records the length of metrics.jsonl, and is written while what
// follows goes on), evaluation. A run that is killed in the evaluation finds its checkpoint at s and, since
// evaluations are due at the loop's head, does it again.
//
// An error ends the run, but costs no finished step: what the step at hand has done so far is taken
// back, and the one before it is checkpointed.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "base/bytes.h"
#include "base/check.h"
#include "train/batch_feed.h"
#include "train/library_exceptions.h"
#include "train/training_run.h"

namespace atl::train {
namespace {

constexpr size_t kPictures = 8;
constexpr double kSmoothing = 0.9;  // of the time left; the last ten steps or so

double seconds_between(trace::Clock::time_point begin, trace::Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace

Result<TrainResult> TrainingRun::run() {
  // An exception, such as out of memory, ends the run like any other error.
  auto result = without_exceptions("training", [this] { return run_to_end(); });
  if (!result) {
    Error error = reason(std::move(result).error());
    group_.end_with(error);  // nobody is to wait for this rank's checkpoint
    return group_.first() ? end_with(std::move(error)) : tl::unexpected(std::move(error));
  }
  return result->stopped && group_.first() ? stop_here() : std::move(result);
}

Result<TrainResult> TrainingRun::run_to_end() {
  TrainResult result = ATOLL_TRY(go_through_steps());
  ATOLL_TRY(finish_checkpoint());
  // A stop is worth another try where it could not be written before. The one in flight was waited for: a
  // write cannot be broken off, and it is the one to go on from when there is no time for another.
  if (result.stopped) {
    ATOLL_TRY(checkpoint());
    ATOLL_TRY(finish_checkpoint());
    return result;
  }
  if (!group_.first()) return result;
  ATOLL_TRY_CONTEXT(metrics_->flush(), "writing the metrics");
  ATOLL_TRY_CONTEXT(out_->flush(), "writing the metrics");
  say(fmt::format("done: {}; everything is in {}", format_count(state_.step, "step"), out_->uri()));
  return result;
}

Result<TrainResult> TrainingRun::go_through_steps() {
  const auto stopped = [this] { return TrainResult{.steps = state_.step, .stopped = true}; };
  bool stopping = ATOLL_TRY(stop_anywhere());
  while (state_.step < steps_) {
    if (evaluation_due()) {
      auto result = evaluate_now(nullptr);
      if (!result && result.error().code == ErrorCode::kCancelled) return stopped();
      ATOLL_TRY(std::move(result));
    }
    if (group_.alone()) stopping = stop_.stop_requested();  // asked again, at no cost
    if (!stopping) ATOLL_TRY(train_step());
    stopping = ATOLL_TRY(stop_anywhere());
    if (stopping) return stopped();
    if (checkpoint_due()) ATOLL_TRY(checkpoint());
  }
  return finish();
}

Result<TrainResult> TrainingRun::stop_here() {
  auto line = fmt::format("stopped after step {} of {}", state_.step, steps_);
  if (last_good_checkpoint_ != state_.step) {
    return fail(ErrorCode::kIo, line + ", but without a checkpoint", where_it_goes_on());
  }
  if (config_.train.model_at_stop) {
    const auto written = write_model();
    if (!written) say("warning: " + written.error().to_string());
  }
  say(fmt::format("{}; {}", line, where_it_goes_on()));
  return TrainResult{.steps = state_.step, .stopped = true};
}

tl::unexpected<Error> TrainingRun::end_with(Error error) {
  const auto kept = without_exceptions("the checkpoint", [this]() -> Result<void> {
    const bool whole_step = trainer_->abandon_step();
    checkpoint_alone(whole_step && steps_here_ > 0 && !weights_differ_);
    return {};
  });
  if (!kept) say("warning: " + kept.error().to_string());
  if (last_good_checkpoint_ >= 0) {
    if (!error.hint.empty()) error.hint += "; then ";
    error.hint += where_it_goes_on();
  }
  return tl::unexpected(std::move(error));
}

Result<void> TrainingRun::train_step() {
  const auto begin = trace::Clock::now();
  const trace::Span span(&tracer_, "step", state_.step);
  trainer_->begin_step(state_.step);
  const Fed fed = ATOLL_TRY(feed_trainer());
  const StepResult result = trainer_->finish_step();
  state_.epoch = state_.step * config_.train.accumulation / sampler_->batches_per_epoch();
  ++state_.step;
  report_step(
      result, fed.everywhere, seconds_between(begin, trace::Clock::now()), feed_->take_waited_s());
  if (result.updated) {
    state_.bad_steps = 0;
    return {};
  }
  return handle_skipped_step(result, fed.images);
}

// All micro-batches of the step; one of which no image could be read is empty.
Result<TrainingRun::Fed> TrainingRun::feed_trainer() {
  Fed fed;
  for (int64_t micro = 0; micro < config_.train.accumulation; ++micro) {
    std::optional<FedBatch> batch;
    {
      const trace::Span span(&tracer_, "wait for data", state_.step);
      batch = ATOLL_TRY(feed_->next());
    }
    ATOLL_CHECK(batch && batch->step == state_.step * config_.train.accumulation + micro)
        << "the loader is out of step at " << state_.step;
    const auto bad = new_bad_images();
    const MicroBatch everywhere = ATOLL_TRY(add_over_ranks(
        {static_cast<int64_t>(batch->images.size()), static_cast<int64_t>(bad.size())}));
    if (everywhere.new_bad > 0) ATOLL_TRY(note_bad_images(bad));
    ATOLL_TRY(check_bad_images());
    fed.images.insert(fed.images.end(), batch->images.begin(), batch->images.end());
    fed.everywhere += everywhere.images;
    if (batch->tensors) {
      trainer_->accumulate(*batch->tensors);
    } else if (everywhere.images > 0) {
      trainer_->accumulate_none();
    } else {
      trainer_->pass_over();
    }
    const trace::Span span(&tracer_, "stage the next batch", state_.step);
    feed_->stage();
  }
  return fed;
}

Result<void> TrainingRun::handle_skipped_step(const StepResult& result,
                                              const std::vector<int64_t>& image_indices) {
  ++state_.bad_steps;
  std::vector<std::string> names;
  names.reserve(image_indices.size());
  for (const int64_t index : image_indices) {
    names.emplace_back(data_->dataset.images()[static_cast<size_t>(index)].file_name);
  }
  names = ATOLL_TRY(lines_of_all_ranks(names, "the names of a skipped step's images"));
  if (names.empty()) {
    say(fmt::format("step {} skipped: none of its images could be read", state_.step));
  } else {
    say(fmt::format("step {} skipped: loss {:g}, gradient norm {:g}; images: {}",
                    state_.step,
                    result.loss,
                    result.gradient_norm,
                    fmt::join(names, ", ")));
  }
  if (state_.bad_steps < config_.train.max_bad_steps) return {};
  return fail(ErrorCode::kInternal,
              fmt::format("{} skipped in a row, up to step {}: the training diverges",
                          format_count(state_.bad_steps, "step"),
                          state_.step),
              "lower train.learning_rate or set train.clip_norm, with --override; if it is always "
              "the same images, look at those");
}

void TrainingRun::report_step(const StepResult& result,
                              int64_t images,
                              double seconds,
                              double waited_s) {
  if (!group_.first()) return;
  const double share = seconds > 0 ? waited_s / seconds : 0;
  const double rate = seconds > 0 ? static_cast<double>(images) / seconds : 0;
  metrics_->add(StepMetrics{.step = state_.step,
                            .epoch = state_.epoch,
                            .learning_rate = result.learning_rate,
                            .loss = result.loss,
                            .losses = result.losses,
                            .images_per_s = rate,
                            .data_wait_share = share,
                            .gradient_norm = result.gradient_norm,
                            .sum_times = result.sum_times,
                            .skipped = !result.updated});
  warn_once_if_failed(metrics_->flush_sometimes(), "metrics.jsonl");
  tracer_.counter("images_per_s", rate);
  tracer_.counter("loss", result.loss);
  if (steps_here_++ == 0) {
    say(fmt::format("first step done {:.1f} s after the start",
                    seconds_between(began_, trace::Clock::now())));
    step_seconds_ = seconds;
  }
  step_seconds_ = kSmoothing * step_seconds_ + (1 - kSmoothing) * seconds;
  if (!console_.progress) return;
  console_.progress({.phase = "train",
                     .done = state_.step,
                     .total = steps_,
                     .images_per_s = rate,
                     .data_wait_share = share,
                     .loss = result.loss,
                     .seconds_left = step_seconds_ * static_cast<double>(steps_ - state_.step),
                     .learning_rate = result.learning_rate});
}

std::vector<dataset::BadImage> TrainingRun::new_bad_images() const {
  auto images = loader_->bad_images();
  std::erase_if(images, [&](const auto& image) { return bad_image_ids_.contains(image.image_id); });
  return images;
}

// The loader bounds the bad images that this process has met; here they are those of the whole run, and of
// all ranks. Two ranks may meet the same one, and call it by different paths.
Result<void> TrainingRun::note_bad_images(const std::vector<dataset::BadImage>& found) {
  std::vector<std::string> own;
  own.reserve(found.size());
  for (const auto& image : found) own.push_back(fmt::format("{} {}", image.image_id, image.what));
  for (const auto& line : ATOLL_TRY(lines_of_all_ranks(own, "the names of unreadable images"))) {
    if (!bad_image_ids_.insert(std::strtoll(line.c_str(), nullptr, 10)).second) continue;
    std::string what = line.substr(line.find(' ') + 1);
    say("skipped: " + what);
    state_.bad_images.push_back(std::move(what));
  }
  return {};
}

// A run that goes on may have too many from before, or a lower limit.
Result<void> TrainingRun::check_bad_images() const {
  const auto bad_count = static_cast<int64_t>(state_.bad_images.size()) + data_->bad_records;
  if (bad_count <= config_.data.max_bad_images) return {};
  return fail(ErrorCode::kInvalidInput,
              fmt::format("{} could not be read: {}",
                          format_count(bad_count, "image"),
                          fmt::join(state_.bad_images, "; ")),
              "repair them, or raise data.max_bad_images");
}

bool TrainingRun::evaluation_due() const {
  const int64_t every = config_.train.eval_every;
  return validation_ && every > 0 && state_.step > 0 && state_.step < steps_ &&
         state_.step % every == 0;
}

Result<EvaluationResult> TrainingRun::evaluate_now(PredictionsFile* predictions) {
  const trace::Span span(&tracer_, "evaluate", state_.step);
  auto& model = trainer_->model();
  const WeightAverage::InPlace averaged(trainer_->average());
  const EvaluationSettings settings{
      .threads = threads_for(config_.data.threads),
      .batch = std::max<int64_t>(1, config_.train.global_batch / config_.train.accumulation),
      .batches_ahead = config_.data.batches_ahead,
      .max_bad_images = config_.data.max_bad_images - validation_->bad_records,
      .group = &group_,
      .stop_anywhere = [this] { return stop_anywhere(); }};
  auto result = ATOLL_TRY_CONTEXT(
      train::evaluate(
          model, state_.categories, *validation_, settings, predictions, console_, stop_, &tracer_),
      "evaluation");
  if (!group_.first()) return result;
  for (const auto& bad : result.bad_images) say("skipped: " + bad);
  metrics_->add(state_.step, result.evaluation);
  const double ap = main_ap(result.evaluation);
  say(fmt::format("step {}: {}", state_.step, headline(result.evaluation)));
  if (ap > state_.best_ap) {
    state_.best_ap = ap;
    state_.best_step = state_.step;
    if (config_.train.eval_every > 0) {
      warn_once_if_failed(model::save_model(*out_, "best.safetensors", model, state_.categories),
                          "best.safetensors");
    }
  }
  return result;
}

Result<void> TrainingRun::write_model() {
  const WeightAverage::InPlace averaged(trainer_->average());
  ATOLL_TRY_CONTEXT(
      model::save_model(*out_, "model.safetensors", trainer_->model(), state_.categories),
      "writing the model");
  return {};
}

Result<TrainResult> TrainingRun::finish() {
  if (group_.first()) ATOLL_TRY(write_model());
  TrainResult result{.steps = state_.step};
  if (validation_) {
    auto predictions = ATOLL_TRY(PredictionsFile::create());
    const auto evaluation = evaluate_now(&predictions);
    if (!evaluation) {
      if (evaluation.error().code != ErrorCode::kCancelled)
        return tl::unexpected(evaluation.error());
      result.stopped = true;
      return result;
    }
    if (!group_.first()) return result;
    print_tables(evaluation->evaluation, console_);
    ATOLL_TRY(write_evaluation(*out_, evaluation->evaluation, std::move(predictions)));
    result.eval_json = evaluation->evaluation.to_json();
    const trace::Span span(&tracer_, "draw pictures");
    const WeightAverage::InPlace averaged(trainer_->average());
    ATOLL_TRY(write_pictures(trainer_->model(), state_.categories, *validation_, kPictures, *out_));
  }
  return result;
}

Result<TrainResult> run_training(const RunConfig& config,
                                 bool override_options,
                                 const Console& console,
                                 std::stop_token stop,
                                 const parallel::GroupOptions& place) {
  return without_exceptions("training", [&] {
    TrainingRun run(config, override_options, console, std::move(stop), place);
    return run_training(run);
  });
}

Result<TrainResult> run_training(TrainingRun& run) {
  return without_exceptions("training", [&]() -> Result<TrainResult> {
    const auto prepared = without_exceptions("training", [&] { return run.prepare(); });
    if (!prepared) return run.settle(tl::unexpected(run.reason(prepared.error())));
    auto result = run.run();
    // What was there and whole at the start may be so again: a mount that went away is no bad input.
    if (!result && (result.error().code == ErrorCode::kNotFound ||
                    result.error().code == ErrorCode::kCorrupt)) {
      result.error().code = ErrorCode::kIo;
    }
    run.write_trace();
    return run.settle(std::move(result));
  });
}

}  // namespace atl::train
