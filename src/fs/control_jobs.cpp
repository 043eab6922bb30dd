#include "fs/control_jobs.h"

#include <chrono>
#include <mutex>

#include "base/check.h"

namespace atl::fs {
namespace {

constexpr auto kProgressEvery = std::chrono::milliseconds(100);
constexpr size_t kStatesInReply = 500;

// Progress as it should be sent: not more often than somebody could see, and from one thread at a time.
class ProgressReplies {
 public:
  ProgressReplies(const OnReply& reply, std::stop_source stop)
      : reply_(reply), stop_(std::move(stop)) {}

  void operator()(const Progress& progress) {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - sent_ < kProgressEvery) return;
    sent_ = now;
    if (!reply_({.kind = ControlReply::Kind::kProgress, .progress = progress})) {
      stop_.request_stop();
    }
  }

 private:
  const OnReply& reply_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point sent_{};
};

Result<ControlReply> done(const Result<Progress>& progress) {
  if (!progress) return tl::unexpected(progress.error());
  return ControlReply{.progress = *progress};
}

Result<ControlReply> show_states(FileLayer& layer,
                                 const ControlRequest& request,
                                 const std::stop_token& stop,
                                 const OnReply& reply) {
  ControlReply batch{.kind = ControlReply::Kind::kStates};
  bool listening = true;
  ATOLL_TRY(layer.states(request.path, request.recursive, [&](const FileState& state) {
    batch.states.push_back(state);
    if (batch.states.size() < kStatesInReply) return !stop.stop_requested();
    listening = reply(batch);
    batch.states.clear();
    return listening && !stop.stop_requested();
  }));
  if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped");
  if (listening && !batch.states.empty()) reply(batch);
  return ControlReply{};
}

Result<ControlReply> run(FileLayer& layer,
                         const ControlRequest& request,
                         const std::stop_token& stop,
                         const OnReply& reply,
                         const OnProgress& progress) {
  switch (request.command) {
    case ControlCommand::kStatus:
      return show_states(layer, request, stop, reply);
    case ControlCommand::kPreload:
      return done(layer.preload(request.path, request.glob, stop, progress));
    case ControlCommand::kRelease:
      return done(layer.release(request.path, std::chrono::seconds(request.unused_s), progress));
    case ControlCommand::kExport:
      return done(layer.export_now(request.path, stop, progress));
    case ControlCommand::kImport:
      return ControlReply{.imported = ATOLL_TRY(layer.import_now(request.path, stop))};
    case ControlCommand::kInfo:
    case ControlCommand::kUnmount:
      break;
  }
  return fail(ErrorCode::kInvalidInput, "nothing is mounted that could answer this");
}

}  // namespace

ControlReply error_reply(Error error) {
  return {.kind = ControlReply::Kind::kError, .error = std::move(error)};
}

void perform(FileLayer& layer,
             const ControlRequest& request,
             const std::stop_token& stop,
             const OnReply& reply) {
  std::stop_source unheard;  // also when nobody listens any more
  const std::stop_callback forward(stop, [&] { unheard.request_stop(); });
  ProgressReplies progress(reply, unheard);
  const auto result = run(layer, request, unheard.get_token(), reply, std::ref(progress));
  reply(result ? *result : error_reply(result.error()));
}

}  // namespace atl::fs
