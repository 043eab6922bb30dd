// What the ranks of a run say to each other, beside what Trainer and evaluate() do. For one process every
// function here gives back what it is given.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <span>
#include <sstream>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/parallel.h"
#include "parallel/rank_text.h"
#include "train/training_run.h"

namespace atl::train {
namespace {

// What two splits must share to be the same to a run: which images, of which sizes, and the categories.
std::string description(const Split& split) {
  uint32_t sum = 0;
  const auto add = [&](const auto& value) {
    sum = crc32c(std::as_bytes(std::span(&value, 1)), sum);
  };
  for (const int64_t index : split.images) {
    const auto& image = split.dataset.images()[static_cast<size_t>(index)];
    add(index);
    add(image.id);
    add(image.width);
    add(image.height);
    sum = crc32c(image.file_name, sum);
  }
  for (const auto& category : split.dataset.categories()) {
    add(category.id);
    sum = crc32c(category.name, sum);
  }
  return fmt::format("{} with {}, checksum {:08x}",
                     format_count(split.images.size(), "image"),
                     format_count(split.dataset.annotations().size(), "object"),
                     sum);
}

}  // namespace

// A launcher may have given each rank processors of its own; those that have the same ones share them.
Result<void> TrainingRun::share_processors() {
  if (group_.alone()) return {};
  std::string own = group_.host();
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<size_t>(cpu), &allowed)) own += fmt::format(" {}", cpu);
    }
  }
  const auto all = ATOLL_TRY(group_.all_gather(own, "the processors of the ranks"));
  ranks_on_processors_ = static_cast<int>(std::ranges::count(all, own));
  return {};
}

int TrainingRun::threads_for(int configured) const {
  if (configured > 0 || ranks_on_processors_ == 1) return configured;
  return std::max(1, available_cpus() / ranks_on_processors_);
}

// Ranks may find their data at different places; what is there must be the same.
Result<void> TrainingRun::agree_on_data() {
  const std::string own = fmt::format("training {}; validation {}",
                                      description(*data_),
                                      validation_ ? description(*validation_) : "none");
  const std::string first = ATOLL_TRY(group_.broadcast(own, "the comparison of the data"));
  if (own == first) return {};
  return fail(ErrorCode::kInvalidInput,
              fmt::format("its data are not those of rank 0: {}, but there {}", own, first),
              "give all ranks the same data");
}

Result<void> TrainingRun::share_state() {
  if (group_.alone()) return {};
  const std::string text =
      ATOLL_TRY(group_.broadcast(group_.first() ? to_text(state_) : "", "the state of the run"));
  const std::string resumed = ATOLL_TRY(
      group_.broadcast(last_good_checkpoint_ >= 0 ? "resumed" : "", "the state of the run"));
  if (!group_.first()) {
    state_ = ATOLL_TRY(run_state_from_text(text, "the state of the run from rank 0"));
    if (!resumed.empty()) last_good_checkpoint_ = state_.step;
  }
  const std::string ids =
      ATOLL_TRY(group_.broadcast(fmt::format("{}", fmt::join(bad_image_ids_, " ")),
                                 "the images that could not be read before"));
  std::istringstream words(ids);
  for (int64_t id = 0; words >> id;) bad_image_ids_.insert(id);
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : trainer_->state()) tensors.push_back(tensor);
  return group_.broadcast(tensors, "the weights at the start");
}

Result<TrainingRun::MicroBatch> TrainingRun::add_over_ranks(MicroBatch own) {
  if (group_.alone()) return own;
  const at::Tensor numbers = at::tensor({own.images, own.new_bad}, at::kLong);
  ATOLL_TRY(group_.sum(numbers, "the count of a batch's images"));
  const int64_t* const sums = numbers.const_data_ptr<int64_t>();
  return MicroBatch{sums[0], sums[1]};
}

Result<std::vector<std::string>> TrainingRun::lines_of_all_ranks(
    const std::vector<std::string>& own, const char* name) {
  if (group_.alone()) return own;
  std::vector<std::string> lines;
  const auto texts = ATOLL_TRY(group_.all_gather(parallel::join_lines(own), name));
  for (const auto& text : texts) {
    for (auto& line : parallel::split_lines(text)) lines.push_back(std::move(line));
  }
  return lines;
}

Result<bool> TrainingRun::stop_anywhere() {
  const bool own = stop_.stop_requested();
  CheckpointCounts counts = checkpoints_->counts();
  bool anywhere = own;
  if (!group_.alone()) {
    const at::Tensor sums =
        at::tensor({int64_t{own}, counts.written, counts.whole, counts.given_up}, at::kLong);
    ATOLL_TRY(group_.sum(sums, "the question whether to stop"));
    const int64_t* const of_all = sums.const_data_ptr<int64_t>();
    anywhere = of_all[0] > 0;
    counts = {.written = of_all[1], .whole = of_all[2], .given_up = of_all[3]};
  }
  const auto outcome = ATOLL_TRY(checkpoints_->advance(counts));
  if (outcome) note(*outcome);
  return anywhere;
}

// They are the same by construction, on machines of one kind; a processor that rounds otherwise or a bit that
// fell over in some memory must not go unseen into a checkpoint.
Result<void> TrainingRun::compare_weights() {
  if (group_.alone()) return {};
  uint32_t sum = 0;
  for (const auto& [name, tensor] : trainer_->state()) {
    const at::Tensor bytes = tensor.detach().cpu().contiguous();
    sum = crc32c({static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()}, sum);
  }
  const auto sums =
      ATOLL_TRY(group_.all_gather(fmt::format("{:08x}", sum), "the comparison of the weights"));
  for (size_t rank = 1; rank < sums.size(); ++rank) {
    if (sums[rank] == sums[0]) continue;
    weights_differ_ = true;
    return fail(
        ErrorCode::kInternal,
        fmt::format(
            "after step {} the weights of rank {} are not those of rank 0", state_.step, rank),
        "the machines must have processors of one kind and sound memory");
  }
  return {};
}

Error TrainingRun::reason(Error error) const { return group_.failure().value_or(std::move(error)); }

Result<TrainResult> TrainingRun::settle(Result<TrainResult> result) {
  if (!result) {
    group_.end_with(result.error());
    return result;
  }
  const auto finished = group_.finish();
  if (finished) return result;
  // Everything is written; that another rank was lost after its last step is no failure of the run.
  if (!group_.first()) return tl::unexpected(finished.error());
  say("warning: " + finished.error().to_string());
  return result;
}

}  // namespace atl::train
