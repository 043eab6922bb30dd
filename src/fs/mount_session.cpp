#include "fs/mount_session.h"

#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/bytes.h"
#include "fs/control_socket.h"
#include "fs/mount_point.h"

namespace atl::fs {
namespace {

// Exports for as long as there is patience; the rest stays in the journal.
Result<Progress> export_in_time(FileLayer& layer, std::chrono::seconds patience) {
  std::stop_source stop;
  std::mutex mutex;
  std::condition_variable_any changed;
  bool done = false;
  std::thread clock([&] {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, patience, [&] { return done; })) stop.request_stop();
  });
  auto result = layer.export_now("", stop.get_token(), [](const Progress&) {});
  {
    const std::lock_guard lock(mutex);
    done = true;
  }
  changed.notify_all();
  clock.join();
  return result;
}

ControlHooks hooks_of(FileLayer& layer, const MountSessionOptions& options) {
  const auto info = [&layer, &options] {
    return DaemonInfo{.pid = ::getpid(),
                      .mount_point = options.server.mount_point,
                      .source = options.server.source,
                      .log_file = options.log_file,
                      .counts = layer.counts()};
  };
  const auto unmount_here = [&options](bool lazily) {
    return unmount(options.server.mount_point, lazily);
  };
  return {info, unmount_here, options.export_at_end};
}

}  // namespace

Result<void> run_mount_session(FileLayer& layer,
                               MountSessionOptions options,
                               std::stop_token stop,
                               std::function<void()> on_ready) {
  const auto log = [&](const std::string& line) {
    if (options.server.log) options.server.log(line);
  };
  options.server.mount_point = ATOLL_TRY(absolute_path(options.server.mount_point));
  options.server.root_xattrs[kStateXattr] = options.state_directory;
  if ((options.state_directory + "/").starts_with(options.server.mount_point + "/")) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("the state directory {} lies below the mount", options.state_directory));
  }
  // First the channel: between the mount and serve() every look at the tree would wait for us.
  auto control =
      ATOLL_TRY(ControlServer::start(options.state_directory, layer, hooks_of(layer, options)));
  auto server = ATOLL_TRY(FuseServer::mount(layer, options.server));
  log(fmt::format("{} is mounted on {}", options.server.source, options.server.mount_point));
  auto served = server->serve(std::move(stop), std::move(on_ready));
  server.reset();
  log(fmt::format("{} is unmounted", options.server.mount_point));
  const bool exported = control->finish_unmounts();
  if (options.export_at_end && !exported) {
    const auto progress = export_in_time(layer, options.export_patience);
    log(progress ? fmt::format("{} exported at the end", format_count(progress->files, "file"))
                 : fmt::format("not everything is exported, the journal keeps it: {}",
                               progress.error().to_string()));
  }
  control.reset();
  return served;
}

}  // namespace atl::fs
