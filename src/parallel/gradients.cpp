#include "parallel/gradients.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <utility>

#include "base/check.h"
#include "parallel/group_impl.h"
#include "trace/trace.h"

namespace atl::parallel {
namespace {

constexpr const char* kStart = "the start of the gradients' sums";
constexpr const char* kName = "the sum of the gradients";

at::ScalarType scalar_type(GradientType type) {
  switch (type) {
    case GradientType::kFloat16:
      return at::kHalf;
    case GradientType::kBfloat16:
      return at::kBFloat16;
    case GradientType::kFloat32:
      break;
  }
  return at::kFloat;
}

using Future = c10::intrusive_ptr<c10::ivalue::Future>;
using Clock = trace::Clock;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

// What the Reducer waits for: the sums of one backward pass, each of which ends when it is there, has failed, or
// the connections were cut (see Watch::wait). Tells the pass's own exceptions from the network's. Thread safe.
class Sums {
 public:
  explicit Sums(trace::Tracer* tracer) : tracer_(tracer) {}
  void begin() {
    const std::lock_guard lock(mutex_);
    pending_.clear();
    failed_ = false;
    begin_ = Clock::now();
    times_ = {};
  }
  // Of `done`, with `finish` called on it before.
  Future add(const Future& done,
             std::function<c10::IValue()> finish,
             const std::shared_ptr<Sums>& self) {
    auto future = c10::make_intrusive<c10::ivalue::Future>(c10::TensorType::get());
    {
      const std::lock_guard lock(mutex_);
      last_ = Clock::now();
      if (pending_.empty()) busy_since_ = last_;
      pending_.push_back(future);
    }
    done->addCallback([self,
                       future,
                       finish = std::move(finish),
                       thread = std::this_thread::get_id(),
                       begin = last_](c10::ivalue::Future& work) {
      self->note_span(thread, begin);
      if (work.hasError()) {
        self->end(future, work.exception_ptr(), {});
      } else {
        self->end(future, nullptr, finish());
      }
    });
    return future;
  }
  // Those that are pending fail; whether there were any.
  bool cut() {
    std::vector<Future> left;
    {
      const std::lock_guard lock(mutex_);
      left = pending_;
    }
    for (const auto& future : left) {
      end(future, std::make_exception_ptr(std::runtime_error("the connections were cut")), {});
    }
    return !left.empty();
  }
  void note_failure() {
    const std::lock_guard lock(mutex_);
    failed_ = true;
  }
  bool failed() const {
    const std::lock_guard lock(mutex_);
    return failed_;
  }
  Clock::time_point begun() const { return begin_; }
  SumTimes times() const {
    const std::lock_guard lock(mutex_);
    return times_;
  }

  // Work that was left behind may end when the tracer is gone.
  void stop_tracing() {
    const std::lock_guard lock(mutex_);
    tracer_ = nullptr;
  }

 private:
  // By the thread of the library that has done the sum. It does one after the other, so that it has begun this one at
  // the earliest when it was done with the one before.
  void note_span(std::thread::id handed_over_by, Clock::time_point begin) {
    thread_local Clock::time_point free_since;
    const auto now = Clock::now();
    begin = std::max(begin, std::exchange(free_since, now));
    const std::lock_guard lock(mutex_);
    if (tracer_ == nullptr) return;
    if (std::this_thread::get_id() != handed_over_by) tracer_->name_thread("sums of gradients");
    tracer_->complete("sum a bucket", begin, now);
  }
  void end(const Future& future, const std::exception_ptr& failure, c10::IValue value) {
    {
      const std::lock_guard lock(mutex_);
      if (std::erase(pending_, future) == 0) return;  // ended already
      if (pending_.empty()) {
        const auto now = Clock::now();
        times_.under_way_s += seconds(now - busy_since_);
        times_.alone_s = seconds(now - last_);
      }
      failed_ = failed_ || failure;
    }
    if (failure) {
      future->setError(failure);
    } else {
      future->markCompleted(std::move(value));
    }
  }

  mutable std::mutex mutex_;
  trace::Tracer* tracer_;
  std::vector<Future> pending_;
  bool failed_ = false;
  Clock::time_point begin_;
  Clock::time_point busy_since_;  // the first of those that are pending was handed over
  Clock::time_point last_;        // the last one was
  SumTimes times_;
};

struct Sender {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  Watch* watch = nullptr;
  at::ScalarType type = at::kFloat;
  std::shared_ptr<Sums> sums;
};

// c10d's own hooks divide by the number of ranks, and there is none for bfloat16.
class SumHook : public c10d::CppCommHookInterface<Sender> {
 public:
  using CppCommHookInterface::CppCommHookInterface;

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    state_.watch->entering(kName);
    const at::Tensor buffer = bucket.getBufferRef();
    std::vector<at::Tensor> sent = {buffer.to(state_.type)};  // itself, where the type is the same
    Future summed;
    try {
      summed = state_.group->allreduce(sent)->getFuture();
    } catch (...) {
      state_.sums->note_failure();
      throw;
    }
    if (!buffer.is_cpu()) return after(*summed, buffer);
    Future future = state_.sums->add(
        summed,
        [buffer, received = sent[0]]() -> c10::IValue {
          const at::NoGradGuard no_grad;
          if (!received.is_same(buffer)) buffer.copy_(received);
          return buffer;
        },
        state_.sums);
    // Cut just now, before the future was there to be told.
    if (state_.watch->cut_off() && state_.sums->cut()) state_.watch->abandon();
    return future;
  }

 private:
  // A device's sum is queued behind its kernels: its future is complete at once, and must be followed by one of the
  // same kind, which puts the reader's stream behind it.
  static Future after(c10::ivalue::Future& summed, const at::Tensor& buffer) {
    return summed.then(
        [buffer](c10::ivalue::Future& work) -> c10::IValue {
          const at::NoGradGuard no_grad;
          const at::Tensor received = work.value().toTensorVector().front();
          if (!received.is_same(buffer)) buffer.copy_(received);
          return buffer;
        },
        c10::TensorType::get());
  }
};

}  // namespace

struct Gradients::Impl {
  Group& group;
  std::vector<at::Tensor> parameters;  // the last one first
  std::shared_ptr<Sums> sums;          // as is the reducer: null for one process
  std::unique_ptr<c10d::Reducer> reducer;
  bool summed = false;
  void make_reducer(const GradientOptions& options);
};

void Gradients::Impl::make_reducer(const GradientOptions& options) {
  sums = std::make_shared<Sums>(group.impl().options.tracer);
  auto& reversed = parameters;
  std::ranges::reverse(reversed);
  const std::vector<bool> sparse(reversed.size(), false);
  auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(
      reversed,
      {static_cast<size_t>(options.first_bucket_bytes), static_cast<size_t>(options.bucket_bytes)},
      sparse));
  reducer = std::make_unique<c10d::Reducer>(reversed,
                                            std::move(buckets),
                                            group.impl().gradients,
                                            sparse,
                                            options.bucket_bytes,
                                            /*find_unused_parameters=*/false,
                                            /*gradient_as_bucket_view=*/true,
                                            std::unordered_map<size_t, std::string>(),
                                            options.first_bucket_bytes,
                                            /*skip_all_reduce_unused_params=*/false,
                                            /*use_python_reducer=*/false,
                                            std::vector<int64_t>());
  reducer->register_comm_hook(std::make_unique<SumHook>(
      Sender{group.impl().gradients, group.impl().watch.get(), scalar_type(options.type), sums}));
  Watch& watch = *group.impl().watch;
  watch.on_cut([sums = sums, &watch] {
    if (sums->cut()) watch.abandon();
  });
  // The sorting anew, now and in this order: otherwise the Reducer goes on noting for it, step for step.
  reducer->push_rebuilt_params_for_all_indices();
  reducer->rebuild_buckets();
}

Gradients::Gradients(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gradients::Gradients(Gradients&&) noexcept = default;

Result<Gradients> Gradients::make(Group& group,
                                  std::vector<at::Tensor> parameters,
                                  const GradientOptions& options) {
  Gradients gradients(std::unique_ptr<Impl>(new Impl{group, std::move(parameters)}));
  if (group.alone()) return gradients;
  auto& impl = group.impl();
  const auto begin = std::chrono::steady_clock::now();
  impl.watch->entering(kStart);
  try {
    gradients.impl_->make_reducer(options);
  } catch (const std::exception& error) {
    return tl::unexpected(impl.watch->explain(kStart, error.what(), impl.is_timeout(begin)));
  }
  return gradients;
}

Gradients::~Gradients() {
  if (!impl_ || !impl_->reducer) return;
  impl_->group.impl().watch->on_cut({});
  impl_->sums->stop_tracing();
}

Result<void> Gradients::backward(const at::Tensor& loss, bool sum) {
  c10d::Reducer* const reducer = impl_->reducer.get();
  if (reducer == nullptr || !sum) {
    loss.backward();
    return {};
  }
  impl_->sums->begin();
  try {
    reducer->prepare_for_forward();
    reducer->prepare_for_backward({});
    loss.backward();
    impl_->summed = true;
    return {};
  } catch (const std::exception& error) {
    if (!impl_->sums->failed()) throw;
    auto& group = impl_->group.impl();
    return tl::unexpected(
        group.watch->explain(kName, error.what(), group.is_timeout(impl_->sums->begun())));
  }
}

Result<void> Gradients::sum() {
  if (!impl_->reducer) return {};
  const at::NoGradGuard no_grad;
  for (at::Tensor& parameter : impl_->parameters) {
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
    ATOLL_TRY(impl_->group.sum(parameter.grad(), kName));
  }
  return {};
}

std::optional<SumTimes> Gradients::sum_times() const {
  if (!impl_->summed || !impl_->parameters.front().is_cpu()) return std::nullopt;
  return impl_->sums->times();
}

}  // namespace atl::parallel
