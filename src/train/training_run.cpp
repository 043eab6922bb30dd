#include "train/training_run.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <limits>

#include "base/bytes.h"
#include "base/parallel.h"
#include "base/rest.h"
#include "train/bad_images.h"
#include "train/batch_tensors.h"
#include "train/device.h"
#include "train/initial_weights.h"

namespace atl::train {
namespace {

constexpr int64_t kDefaultEpochs = 12;  // COCO's "1x"
constexpr int kSizeDivisor_px = 32;     // the coarsest pyramid level that is not pooled

dataset::LoaderOptions loader_options(const RunConfig& config, int threads, int64_t bad_records) {
  dataset::LoaderOptions options;
  options.min_size_px = config.model.min_size_px;
  options.max_size_px = config.model.max_size_px;
  options.size_divisor = kSizeDivisor_px;
  options.flip_probability = config.data.flip_probability;
  options.augment = config.data.augment;
  options.seed = config.train.seed;
  options.mean = config.model.image_mean;
  options.standard_deviation = config.model.image_std;
  options.threads = threads > 0 ? threads : available_cpus();
  options.batches_ahead = config.data.batches_ahead;
  options.max_bad_images = config.data.max_bad_images - bad_records;
  options.shrink_in_decoder = config.data.shrink_in_decoder;
  return options;
}

}  // namespace

TrainingRun::TrainingRun(const RunConfig& config,
                         bool override_options,
                         const Console& console,
                         std::stop_token stop,
                         const parallel::GroupOptions& place,
                         OpenStore open_store)
    : config_(config),
      override_options_(override_options),
      console_(console),
      stop_(std::move(stop)),
      place_(place),
      open_store_(open_store ? std::move(open_store) : OpenStore(storage::open_store)) {
  place_.tracer = &tracer_;
  if (place.rank == 0) return;
  console_.line = nullptr;
  console_.progress = nullptr;
}

Result<void> TrainingRun::prepare() {
  const trace::Span span(&tracer_, "prepare");
  tracer_.name_thread("training");
  device_ = ATOLL_TRY(choose_device(config_.device, place_.local_rank));
  parallel::Agreed agreed = values_of_all_ranks(config_);
  agreed.emplace_back("the kind of device", c10::DeviceTypeName(device_->type(), true));
  group_ = ATOLL_TRY(parallel::Group::join(place_, *device_, std::move(agreed)));
  ATOLL_TRY(share_processors());
  configure_torch(threads_for(config_.threads));
  if (group_.first()) ATOLL_TRY(open_output());
  ATOLL_TRY(open_data());
  ATOLL_TRY(agree_on_data());
  ATOLL_TRY(make_trainer());
  if (group_.first()) ATOLL_TRY(resume_or_start());
  ATOLL_TRY(share_state());
  ATOLL_TRY(make_checkpoint_writer());
  if (group_.first()) {
    ATOLL_TRY(storage::put_text(*out_, "config.toml", to_toml(config_)));
    metrics_ = ATOLL_TRY(Metrics::open(*out_, state_.metrics_bytes, state_.step));
  }
  make_loader();
  return {};
}

Result<void> TrainingRun::open_output() {
  if (config_.out.empty()) {
    return fail(ErrorCode::kInvalidInput, "no output directory is named", "give --out DIR");
  }
  out_ = ATOLL_TRY_CONTEXT(open_store_(config_.out, /*for_writing=*/true), "the output directory");
  claim_ = ATOLL_TRY_CONTEXT(claim_output(), "the output directory");
  if (!claim_.note.empty()) say("warning: " + claim_.note);
  say(fmt::format("preset {} with {}; every value: config.toml in {}",
                  config_.preset,
                  changes_from_preset(config_),
                  out_->uri()));
  return {};
}

// A rank 0 of a round before that is cut off from its job, or slow to end, must have left first: two that write would spoil
// each other's files.
Result<storage::Claim> TrainingRun::claim_output() {
  constexpr std::chrono::milliseconds kAskEvery{500};
  const auto deadline = std::chrono::steady_clock::now() + console_.wait_for_output;
  for (bool said = false;; said = true) {
    auto claim = out_->claim();
    if (claim || claim.error().code != ErrorCode::kInvalidInput || stop_.stop_requested() ||
        std::chrono::steady_clock::now() >= deadline) {
      return claim;
    }
    if (!said) say("waiting until the job's last round has ended: " + claim.error().message);
    rest(kAskEvery, stop_);
  }
}

Result<void> TrainingRun::open_data() {
  const trace::Span span(&tracer_, "read annotations");
  const auto& data = config_.data;
  const SplitOptions validation{.path = data.path,
                                .split = dataset::Split::kVal,
                                .annotations = data.val_annotations,
                                .images = data.val_images,
                                .limit_images = data.validation_limit(),
                                .max_bad_records = data.max_bad_images,
                                .threads = threads_for(data.threads),
                                .console = console_,
                                .stop = stop_};
  // A bucket is asked meanwhile for the many names that there may be.
  std::future<Result<bool>> has_validation;
  if (config_.train.evaluate) {
    has_validation = std::async(std::launch::async, [&] { return has_split(validation); });
  }
  data_ = ATOLL_TRY(open_split({.path = data.path,
                                .split = dataset::Split::kTrain,
                                .annotations = data.train_annotations,
                                .images = data.train_images,
                                .limit_images = data.limit_images,
                                .keep_empty = data.keep_empty,
                                .max_bad_records = data.max_bad_images,
                                .threads = threads_for(data.threads),
                                .console = console_,
                                .stop = stop_}));
  // Whether there is a validation split is the data's business; a broken one is an error.
  if (!config_.train.evaluate) {
    say("train.evaluate = false: the run ends without an evaluation");
  } else if (ATOLL_TRY(has_validation.get())) {
    validation_ = ATOLL_TRY(open_split(validation));
    ATOLL_TRY(check_categories(categories_of(data_->dataset), *validation_, data_->name()));
    if (!validation_->note.empty()) say(validation_->note);
  } else {
    say("no validation split was found: the run ends without an evaluation");
  }
  make_sampler();
  const int64_t steps_per_epoch =
      (sampler_->batches_per_epoch() + config_.train.accumulation - 1) / config_.train.accumulation;
  steps_ = config_.train.steps > 0 ? config_.train.steps : kDefaultEpochs * steps_per_epoch;
  say(fmt::format("data: {}, {} for validation, {}",
                  format_count(data_->images.size(), "training image"),
                  validation_ ? validation_->images.size() : 0,
                  format_count(data_->dataset.categories().size(), "category", "categories")));
  return {};
}

void TrainingRun::make_sampler() {
  const auto& data = config_.data;
  std::vector<double> repeats;
  if (data.repeat_factor_threshold > 0) {
    repeats = dataset::repeat_factors(data_->dataset, data_->images, data.repeat_factor_threshold);
  }
  sampler_.emplace(
      data_->sizes(),
      dataset::SamplerOptions{
          .seed = config_.train.seed,
          .global_batch = static_cast<int>(config_.train.global_batch / config_.train.accumulation),
          .group_by_aspect = data.group_by_aspect},
      repeats);
  if (const int64_t more = sampler_->padding_per_epoch(); more > 0) {
    say(fmt::format("padding: each epoch has {} more, to fill up its last batches",
                    format_count(more, "image")));
  }
  if (!repeats.empty()) {
    const auto more = std::ranges::count_if(repeats, [](double factor) { return factor > 1; });
    say(fmt::format("repeat factors: {} of {} images come more than once, {:.1f} times at most",
                    more,
                    repeats.size(),
                    *std::ranges::max_element(repeats)));
  }
}

Result<void> TrainingRun::make_trainer() {
  const trace::Span span(&tracer_, "make the model");
  model::ModelConfig model = config_.model;
  model.num_classes = static_cast<int64_t>(data_->dataset.categories().size()) + 1;
  trainer_ = std::make_unique<Trainer>(config_, model, *device_, steps_, &tracer_, &group_);
  say(fmt::format("model: {} on {} with {}{}",
                  config_.preset,
                  device_->str(),
                  format_count(at::get_num_threads(), "thread"),
                  group_.alone() ? "" : fmt::format(", on each of {} ranks", group_.size())));
  say(fmt::format("{} of {}; {}",
                  format_count(steps_, "step"),
                  format_count(config_.train.global_batch, "image"),
                  trainer_->schedule().describe()));
  return {};
}

Result<void> TrainingRun::resume_or_start() {
  auto found = ATOLL_TRY_CONTEXT(newest_checkpoint(*out_), "looking for a checkpoint");
  for (const auto& damaged : found.damaged) {
    say(fmt::format("passed over a damaged checkpoint: {}", damaged.reason));
    damaged_steps_.insert(damaged.step);
  }
  if (found.checkpoint) return resume(*std::move(found.checkpoint));
  if (!config_.weights.empty()) {
    say(ATOLL_TRY(
        load_initial_weights(trainer_->model(), categories_of(data_->dataset), config_.weights)));
  }
  state_.config = to_toml(config_);
  state_.categories = categories_of(data_->dataset);
  state_.train_images = static_cast<int64_t>(data_->images.size());
  state_.steps = steps_;
  return {};
}

Result<void> TrainingRun::resume(Checkpoint checkpoint) {
  ATOLL_TRY(check_same_run(checkpoint.state));
  ATOLL_TRY_CONTEXT(trainer_->load_state(checkpoint.tensors), manifest_key(checkpoint.state.step));
  state_ = std::move(checkpoint.state);
  state_.config = to_toml(config_);
  state_.train_images = static_cast<int64_t>(data_->images.size());
  state_.steps = steps_;
  last_good_checkpoint_ = state_.step;
  // What was left by one that was killed while it removed older ones: after the last step none follows that would.
  warn_once_if_failed(
      prune_checkpoints(*out_, config_.train.keep_checkpoints, state_.best_step, state_.step),
      "removing old checkpoints");
  say(fmt::format("going on after step {} of {}", state_.step, steps_));
  return forget_repaired_images();
}

// So that a run which ended because of bad images goes on once they are repaired.
Result<void> TrainingRun::forget_repaired_images() {
  auto still = ATOLL_TRY_CONTEXT(
      still_bad_images(
          state_.bad_images,
          *data_,
          loader_options(config_, threads_for(config_.data.threads), data_->bad_records)),
      "trying images again");
  const size_t repaired = state_.bad_images.size() - still.size();
  state_.bad_images.clear();
  for (auto& image : still) {
    bad_image_ids_.insert(image.image_id);
    state_.bad_images.push_back(std::move(image.what));
  }
  if (repaired > 0) {
    say(fmt::format("{} that could not be read before can be now",
                    format_count(repaired, "image")));
  }
  return {};
}

Result<void> TrainingRun::check_same_run(const RunState& found) {
  const auto categories = categories_of(data_->dataset);
  if (found.categories != categories) {
    return check_categories(found.categories, *data_, fmt::format("the run in {}", out_->uri()));
  }
  const RunConfig before = ATOLL_TRY_CONTEXT(parse_config({"checkpoint", found.config, {}}),
                                             "the configuration of the run that is resumed");
  std::vector<std::string> changes;
  for (const auto& change : changes_that_matter(before, config_)) {
    changes.push_back(fmt::format("{} was {}, is {}", change.key, change.before, change.after));
  }
  const auto images = static_cast<int64_t>(data_->images.size());
  if (found.train_images != images) {
    changes.push_back(fmt::format("training images were {}, are {}", found.train_images, images));
  }
  if (changes.empty()) return {};
  if (!override_options_) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("{} holds a run with other options: {}", out_->uri(), fmt::join(changes, "; ")),
        "--override goes on with the new ones; or choose another --out");
  }
  for (const auto& change : changes) say("overridden: " + change);
  if (found.step > steps_) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("the run in {} is at step {}, beyond the {} asked for",
                            out_->uri(),
                            found.step,
                            format_count(steps_, "step")),
                "raise train.steps, or choose another --out");
  }
  return {};
}

void TrainingRun::make_loader() {
  const int64_t accumulation = config_.train.accumulation;
  // A loader step is a micro-batch.
  const auto plan = [this, accumulation](int64_t micro) -> std::optional<std::vector<int64_t>> {
    if (micro >= steps_ * accumulation) return std::nullopt;
    auto positions = sampler_->batch(micro);
    for (auto& position : positions) position = data_->images[static_cast<size_t>(position)];
    return positions;
  };
  auto options = loader_options(config_, threads_for(config_.data.threads), data_->bad_records);
  options.rank = group_.rank();
  options.world_size = group_.size();
  // Those of all ranks count together: note_bad_images().
  if (!group_.alone()) options.max_bad_images = std::numeric_limits<int64_t>::max();
  options.pixel_memory = pixel_memory_for(trainer_->model().device());
  loader_ = std::make_unique<dataset::Loader>(
      data_->dataset,
      *data_->store,
      data_->image_prefix,
      options,
      plan,
      // The sampler belongs to the plan's thread; this part of it changes nothing. Where images are
      // repeated within an epoch, each time is to look different: then the step is the key.
      [per_key = config_.data.repeat_factor_threshold > 0 ? 1 : sampler_->batches_per_epoch()](
          int64_t micro) { return micro / per_key; },
      state_.step * accumulation,
      &tracer_);
  feed_ =
      std::make_unique<BatchFeed>([this] { return loader_->next(); }, trainer_->model().device());
}

void TrainingRun::say(const std::string& line) const {
  if (console_.line) console_.line(line);
}

void TrainingRun::warn_once_if_failed(const Result<void>& result, const std::string& what) {
  if (result || write_failed_) return;
  write_failed_ = true;
  say(fmt::format("warning: {}: {}; training goes on", what, result.error().to_string()));
}

std::string TrainingRun::where_it_goes_on() const {
  if (last_good_checkpoint_ < 0) return "the same command begins anew";
  return fmt::format("the same command goes on after step {}", last_good_checkpoint_);
}

void TrainingRun::write_trace() {
  if (!out_) return;
  const auto written = storage::put_text(*out_, "trace.json", tracer_.to_json());
  if (!written) say("warning: trace.json: " + written.error().to_string());
}

}  // namespace atl::train
