// The checkpoints of a run: who writes them, when, and what is said when one cannot be written.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "base/bytes.h"
#include "train/library_exceptions.h"
#include "train/training_run.h"

namespace atl::train {
namespace {

// Where rank 0 leaves a word for the others, while they look whether they see its output.
constexpr const char* kSharedKey = "atoll-ranks-here";

bool holds(storage::ObjectStore& store, std::string_view word) {
  if (!store.head(kSharedKey)) return false;  // as it is now, not as it was at the start before
  const auto found = store.get(kSharedKey);
  return found && found->text() == word;
}

}  // namespace

// Output in a bucket, or on a disk that all machines have, is written by all ranks; a directory that is rank 0's
// machine's own by those of that machine.
Result<std::vector<int>> TrainingRun::find_writers() {
  if (group_.alone()) return std::vector<int>{0};
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  std::string word;
  if (group_.first()) {
    word = fmt::format("{} {} {}", group_.host(), ::getpid(), now);
    ATOLL_TRY_CONTEXT(storage::put_text(*out_, kSharedKey, word), "the output directory");
  }
  word = ATOLL_TRY(group_.broadcast(word, "the question who sees the output"));
  std::string answer = group_.first() ? "yes" : "";
  if (!group_.first() && !config_.out.empty()) {
    auto opened = open_store_(config_.out, /*for_writing=*/false);
    if (opened && holds(**opened, word)) {
      out_seen_ = *std::move(opened);
      answer = "yes";
    }
  }
  const auto answers = ATOLL_TRY(group_.all_gather(answer, "the question who sees the output"));
  std::vector<int> writers;
  for (size_t rank = 0; rank < answers.size(); ++rank) {
    if (!answers[rank].empty()) writers.push_back(static_cast<int>(rank));
  }
  if (!group_.first()) return writers;
  warn_once_if_failed(out_->remove(kSharedKey), kSharedKey);
  if (writers.size() < answers.size()) {
    say(fmt::format("{} of {} ranks see {}: they write the checkpoints",
                    writers.size(),
                    answers.size(),
                    out_->uri()));
  }
  return writers;
}

Result<void> TrainingRun::make_checkpoint_writer() {
  CheckpointRules rules{.keep = config_.train.keep_checkpoints};
  rules.writers = ATOLL_TRY(find_writers());
  storage::ObjectStore* const store = group_.first() ? out_.get() : out_seen_.get();
  checkpoints_ = std::make_unique<CheckpointWriter>(store, group_, std::move(rules), &tracer_);
  return {};
}

bool TrainingRun::checkpoint_due() const {
  return state_.step == steps_ || state_.step % config_.train.checkpoint_every == 0 ||
         evaluation_due();
}

// One that cannot be written costs no more than itself: those before stay whole. One that is already there stays as
// it is, for an evaluation may have followed it.
Result<void> TrainingRun::checkpoint() {
  if (last_good_checkpoint_ == state_.step || checkpoints_->in_flight() == state_.step) return {};
  if (checkpoints_->in_flight()) ATOLL_TRY(wait_for_checkpoint());
  const trace::Span span(&tracer_, "checkpoint", state_.step);
  if (group_.first()) count_logs();
  // Nobody writes before rank 0 has come here.
  ATOLL_TRY(compare_weights());
  checkpoints_->begin(state_, trainer_->state());
  return {};
}

// The state of a checkpoint that is about to be written holds the length of the log, which reaches the store
// before it does.
void TrainingRun::count_logs() {
  warn_once_if_failed(metrics_->flush(), "metrics.jsonl");
  state_.metrics_bytes = metrics_->bytes();
  // Shards of this way must not come under the manifest of another, damaged as it is.
  if (damaged_steps_.erase(state_.step) > 0) {
    warn_once_if_failed(remove_checkpoint(*out_, state_.step), "removing a damaged checkpoint");
  }
}

// The next one is due.
Result<void> TrainingRun::wait_for_checkpoint() {
  const bool first_time = !std::exchange(waited_for_checkpoint_, true);
  const int64_t step = *checkpoints_->in_flight();
  if (first_time) {
    say(
        fmt::format("warning: the checkpoint at step {} is still being written, and the next one "
                    "is due: training "
                    "waits for it",
                    step));
  }
  const auto begin = trace::Clock::now();
  ATOLL_TRY(finish_checkpoint());
  if (first_time) {
    say(fmt::format("waited {} for it; where that happens often, raise train.checkpoint_every",
                    format_duration(trace::Clock::now() - begin)));
  }
  return {};
}

Result<void> TrainingRun::finish_checkpoint() {
  if (!checkpoints_->in_flight()) return {};
  const CheckpointOutcome outcome = ATOLL_TRY(checkpoints_->finish());
  note(outcome);
  return {};
}

void TrainingRun::note(const CheckpointOutcome& outcome) {
  const auto as_result = [](const std::optional<Error>& error) {
    return error ? Result<void>(tl::unexpected(*error)) : Result<void>();
  };
  if (!outcome.whole) {
    if (group_.first()) say_not_written(outcome.step, outcome.reason.value_or(Error{}));
    return;
  }
  last_good_checkpoint_ = outcome.step;
  write_failed_ = false;
  warn_once_if_failed(as_result(outcome.logs_not_durable), "metrics.jsonl");
  warn_once_if_failed(as_result(outcome.old_not_removed), "removing old checkpoints");
}

void TrainingRun::say_not_written(int64_t step, const Error& reason) const {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : trainer_->state()) bytes += tensor.nbytes();
  say(
      fmt::format("warning: checkpoint at step {}: {}; {}; it takes {}, and the next one is tried "
                  "when it is due",
                  step,
                  reason.to_string(),
                  last_good_checkpoint_ < 0
                      ? "there is none yet"
                      : fmt::format("the last good one is at step {}", last_good_checkpoint_),
                  format_bytes(bytes)));
}

// The run ends with an error, and with several ranks the others are gone.
void TrainingRun::checkpoint_alone(bool current) {
  if (!checkpoints_) return;
  if (const auto outcome = checkpoints_->finish_alone()) note(*outcome);
  if (!current || last_good_checkpoint_ == state_.step) return;
  const trace::Span span(&tracer_, "checkpoint", state_.step);
  count_logs();
  warn_once_if_failed(out_->flush(), "metrics.jsonl");
  if (const auto written = write_checkpoint(*out_, state_, trainer_->state()); !written) {
    say_not_written(state_.step, written.error());
    warn_once_if_failed(remove_checkpoint(*out_, state_.step), "removing what was written of it");
    return;
  }
  last_good_checkpoint_ = state_.step;
  const auto pruned =
      prune_checkpoints(*out_, config_.train.keep_checkpoints, state_.best_step, state_.step);
  warn_once_if_failed(pruned, "removing old checkpoints");
}

}  // namespace atl::train
