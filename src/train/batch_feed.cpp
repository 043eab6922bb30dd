#include "train/batch_feed.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

#include "trace/trace.h"

namespace atl::train {
namespace {

double seconds_since(trace::Clock::time_point begin) {
  return std::chrono::duration<double>(trace::Clock::now() - begin).count();
}

c10::impl::VirtualGuardImpl streams_of(at::Device device) {
  return c10::impl::VirtualGuardImpl(device.type());
}

// The caching allocator must not give the memory to the copying stream again while `user` reads it.
void mark_used(const BatchTensors& batch, c10::Stream user) {
  batch.images.pixels.record_stream(user);
  for (const auto& target : batch.targets) {
    target.boxes.record_stream(user);
    target.labels.record_stream(user);
  }
}

}  // namespace

struct BatchFeed::Staged {
  Result<std::optional<FedBatch>> batch;
  std::optional<c10::Event> copied;
};

BatchFeed::BatchFeed(Source source, at::Device device)
    : source_(std::move(source)), device_(device) {
  if (!device.is_cpu()) copying_ = streams_of(device).getStreamFromGlobalPool(device);
}

BatchFeed::~BatchFeed() {
  if (staged_ && staged_->copied) copying_->synchronize();
}

Result<std::optional<FedBatch>> BatchFeed::fetch() {
  auto batch = ATOLL_TRY(source_());
  if (!batch) return std::nullopt;
  FedBatch fed;
  fed.step = batch->step;
  for (const auto& sample : batch->samples) fed.images.push_back(sample.image_index);
  if (!batch->samples.empty()) fed.tensors = to_tensors(*std::move(batch), device_);
  return fed;
}

Result<std::optional<FedBatch>> BatchFeed::next() {
  if (!staged_) {
    const auto begin = trace::Clock::now();
    auto batch = fetch();  // on the stream of the work itself: there is nothing to run beside
    waited_s_ += seconds_since(begin);
    return batch;
  }
  const auto staged = std::exchange(staged_, nullptr);
  if (staged->copied) {
    const c10::Stream working = streams_of(device_).getStream(device_);
    staged->copied->block(working);
    mark_used(*(*staged->batch)->tensors, working);
  }
  return std::move(staged->batch);
}

void BatchFeed::stage() {
  if (!copying_ || staged_) return;
  const auto begin = trace::Clock::now();
  c10::Event worked(device_.type());
  worked.record(streams_of(device_).getStream(device_));
  staged_ = std::make_unique<Staged>();
  const c10::StreamGuard beside(*copying_);
  staged_->batch = fetch();
  if (worked.query()) waited_s_ += seconds_since(begin);  // the device ran dry meanwhile
  if (staged_->batch && *staged_->batch && (*staged_->batch)->tensors) {
    staged_->copied.emplace(device_.type());
    staged_->copied->record(*copying_);
  }
}

double BatchFeed::take_waited_s() { return std::exchange(waited_s_, 0.0); }

}  // namespace atl::train
