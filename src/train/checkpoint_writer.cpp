#include "train/checkpoint_writer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "train/library_exceptions.h"

namespace atl::train {
namespace {

// What a rank tells of its shard: "BYTES CRC", or "!" and why there is none.
std::string to_line(const Result<WrittenShard>& shard) {
  if (!shard) return fmt::format("!{}", shard.error().to_string());
  return fmt::format("{} {}", shard->size_bytes, shard->crc32c);
}

Result<WrittenShard> from_line(const std::string& line) {
  WrittenShard shard;
  const char* const end = line.data() + line.size();
  const auto size = std::from_chars(line.data(), end, shard.size_bytes);
  if (size.ec == std::errc() && size.ptr != end) {
    const auto sum = std::from_chars(size.ptr + 1, end, shard.crc32c);
    if (sum.ec == std::errc() && sum.ptr == end) return shard;
  }
  return fail(ErrorCode::kIo, line.starts_with('!') ? line.substr(1) : line);
}

}  // namespace

CheckpointWriter::CheckpointWriter(storage::ObjectStore* store,
                                   parallel::Group& group,
                                   CheckpointRules rules,
                                   trace::Tracer* tracer)
    : store_(store), group_(group), rules_(std::move(rules)), tracer_(tracer) {
  ATOLL_CHECK(!rules_.writers.empty() && rules_.writers.front() == 0);
  const auto found = std::ranges::find(rules_.writers, group_.rank());
  if (found == rules_.writers.end()) return;
  ATOLL_CHECK(store_ != nullptr);
  own_ = static_cast<size_t>(found - rules_.writers.begin());
  thread_ = std::make_unique<BackgroundThread>([tracer] {
    if (tracer != nullptr) tracer->name_thread("checkpoints");
  });
}

CheckpointWriter::~CheckpointWriter() = default;

std::optional<int64_t> CheckpointWriter::in_flight() const {
  if (phase_ == Phase::kNone) return std::nullopt;
  return outcome_.step;
}

void CheckpointWriter::begin(const RunState& state, const TensorMap& live) {
  ATOLL_CHECK(phase_ == Phase::kNone);
  if (own_) {
    const trace::Span span(tracer_, "snapshot", state.step);
    const auto divided = divide_into_shards(live, rules_.writers.size());
    take_snapshot(divided[*own_]);
    if (group_.first()) manifest_ = make_manifest(state, divided);
  }
  outcome_ = {.step = state.step};
  shard_.reset();
  // A sole writer goes on by itself.
  phase_ = sole_writer() ? Phase::kClosing : Phase::kShards;
  if (!own_) return;
  thread_->start([this] {
    write_own_shard();
    if (!sole_writer()) return;
    if (*shard_) manifest_.shards.front().written = **shard_;
    close(*shard_ ? std::nullopt : std::optional(shard_->error()));
  });
}

void CheckpointWriter::take_snapshot(const TensorMap& share) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : share) {
    at::Tensor& copy = snapshot_[name];
    if (!copy.defined() || copy.sizes() != tensor.sizes() ||
        copy.scalar_type() != tensor.scalar_type()) {
      copy = at::empty(tensor.sizes(), at::TensorOptions().dtype(tensor.scalar_type()));
    }
    copy.copy_(tensor.detach());
  }
  std::erase_if(snapshot_, [&](const auto& entry) { return !share.contains(entry.first); });
}

// On the thread, as is close().
void CheckpointWriter::write_own_shard() {
  const trace::Span span(tracer_, "write a shard", outcome_.step);
  shard_ = without_exceptions("writing a checkpoint", [this] {
    return write_shard(*store_, outcome_.step, *own_, rules_.writers.size(), snapshot_);
  });
}

// Makes a checkpoint of the shards, or, with a reason, removes them.
void CheckpointWriter::close(std::optional<Error> reason) {
  const trace::Span span(tracer_, "write the manifest", outcome_.step);
  if (!reason) {
    // The checkpoint counts the bytes of the logs.
    const auto durable =
        without_exceptions("flushing the logs", [this] { return store_->flush(); });
    if (!durable) outcome_.logs_not_durable = durable.error();
    const auto written = without_exceptions("writing a checkpoint's manifest",
                                            [this] { return write_manifest(*store_, manifest_); });
    if (!written) reason = written.error();
  }
  outcome_.whole = !reason;
  outcome_.reason = std::move(reason);
  const auto removed = without_exceptions("removing checkpoints", [this] {
    const RunState& state = manifest_.state;
    return outcome_.whole ? prune_checkpoints(*store_, rules_.keep, state.best_step, state.step)
                          : remove_checkpoint(*store_, state.step);
  });
  if (!removed) outcome_.old_not_removed = removed.error();
}

CheckpointCounts CheckpointWriter::counts() const {
  CheckpointCounts counts;
  if (!thread_ || phase_ == Phase::kNone || thread_->busy()) return counts;
  if (phase_ == Phase::kShards) counts.written = 1;
  if (phase_ == Phase::kClosing && group_.first()) {
    (outcome_.whole ? counts.whole : counts.given_up) = 1;
  }
  return counts;
}

Result<std::optional<CheckpointOutcome>> CheckpointWriter::advance(const CheckpointCounts& sums) {
  if (phase_ == Phase::kShards && sums.written == static_cast<int64_t>(rules_.writers.size())) {
    ATOLL_TRY(exchange_checksums());
    return std::nullopt;
  }
  if (phase_ != Phase::kClosing || sums.whole + sums.given_up == 0) return std::nullopt;
  outcome_.whole = sums.whole > 0;
  return end();
}

// All ranks learn in the same collective what has become of every shard, and so what follows.
Result<void> CheckpointWriter::exchange_checksums() {
  const auto lines = ATOLL_TRY(
      group_.all_gather(own_ ? to_line(*shard_) : "", "the checksums of a checkpoint's shards"));
  phase_ = Phase::kClosing;
  if (!group_.first()) return {};
  std::optional<Error> reason;
  for (size_t shard = 0; shard < rules_.writers.size(); ++shard) {
    const int rank = rules_.writers[shard];
    const auto written = from_line(lines[static_cast<size_t>(rank)]);
    if (written) {
      manifest_.shards[shard].written = *written;
    } else if (!reason) {
      reason = written.error();
      if (rank != 0) reason->context.push_back(fmt::format("rank {}", rank));
    }
  }
  thread_->start([this, reason] { close(reason); });
  return {};
}

CheckpointOutcome CheckpointWriter::end() {
  phase_ = Phase::kNone;
  return std::exchange(outcome_, {});
}

Result<CheckpointOutcome> CheckpointWriter::finish() {
  ATOLL_CHECK(phase_ != Phase::kNone);
  const trace::Span span(tracer_, "wait for a checkpoint", outcome_.step);
  if (phase_ == Phase::kShards) {
    if (thread_) thread_->wait();
    ATOLL_TRY(exchange_checksums());
  }
  if (group_.first()) thread_->wait();
  const std::string answer =
      ATOLL_TRY(group_.broadcast(outcome_.whole ? "whole" : "", "what has become of a checkpoint"));
  outcome_.whole = !answer.empty();
  return end();
}

std::optional<CheckpointOutcome> CheckpointWriter::finish_alone() {
  // Shards of the others that nobody can tell of are not worth the time that is left.
  if (std::exchange(phase_, Phase::kNone) != Phase::kClosing) return std::nullopt;
  thread_->wait();
  return end();
}

}  // namespace atl::train
