// atoll fs mount and umount.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/command.h"
#include "cli/fs_bucket.h"
#include "cli/fs_options.h"
#include "cli/fs_progress.h"
#include "cli/fs_target.h"
#include "fs/control_socket.h"
#include "fs/daemon.h"
#include "fs/mount_point.h"
#include "fs/mount_session.h"

namespace atl::cli {
namespace {

constexpr const char* kMountFooter =
    "Goes into the background when the mount is ready. What is read comes through the block cache, "
    "what\n"
    "is written is kept on the local disk and written to the bucket as --export says; a crash "
    "loses no\n"
    "closed file, the next mount goes on. A mount whose daemon has died is cleaned away by "
    "itself.\n"
    "-o takes the options below with '_' for '-': "
    "ro,max_age=5,endpoint_url=http://h:9000,cache_size=50G.\n"
    "In /etc/fstab, with deploy/mount.atoll in /sbin:\n"
    "  s3://bucket/coco  /mnt/coco  atoll  ro,allow_other,_netdev  0  0\n"
    "\n"
    "Examples:\n"
    "  atoll fs mount s3://bucket/coco /mnt/coco --read-only\n"
    "  atoll fs mount s3://bucket/runs /mnt/runs --uid 1000 --gid 1000 --export demand\n"
    "  atoll fs mount s3://bucket/coco /mnt/coco -o ro,allow_other,cache_size=50G\n"
    "  atoll fs mount s3://bucket/coco /mnt/coco --foreground --endpoint-url http://localhost:9000";

constexpr const char* kUmountFooter =
    "Waits until the daemon has written what is left to the bucket and has ended. Ctrl-C ends the "
    "waiting;\n"
    "the rest stays in the journal. Also cleans up where the daemon has crashed.\n"
    "\n"
    "Examples:\n"
    "  atoll fs umount /mnt/coco\n"
    "  atoll fs umount /mnt/coco --lazy";

constexpr const char* kStopping = "unmounting; what is not in the bucket yet is exported";

struct MountCommand {
  std::string uri;
  std::string directory;
  bool foreground = false;
  bool sloppy = false;
  bool fake = false;
  bool ignored = false;  // mount(8)'s -n and -v
  std::shared_ptr<FsOptions> options;
};

// The daemon, or the command itself in the foreground. `daemon`: null in the foreground.
Result<void> serve(const MountCommand& command,
                   const fs::MountSettings& settings,
                   fs::Daemon* daemon,
                   const std::stop_token& stop) {
  // Its many threads would have malloc keep as many heaps, each with what was freed in it.
  constexpr int kHeaps = 4;
  ::mallopt(M_ARENA_MAX, kHeaps);
  const auto bucket = ATOLL_TRY(open_bucket(command.uri, {.direct_read_ahead = true}));
  // One answer tells whether bucket, credentials and region are right, before anybody waits for a mount or
  // a directory is made for it.
  ATOLL_TRY(bucket.remote->list_page("", ""));
  const std::string state = ATOLL_TRY(state_directory(bucket, settings));
  ATOLL_TRY(make_private_directory(state));
  const std::string log_file = !settings.log_file.empty() ? settings.log_file
                               : daemon != nullptr        ? state + "/atoll.log"
                                                          : "";
  const auto log = ATOLL_TRY(fs::Log::open(log_file));
  const auto line = [&](std::string_view text) { log.line(text); };
  const auto layer = ATOLL_TRY_CONTEXT(open_layer(bucket, state, settings, line),
                                       fmt::format("opening the state of {}", command.uri));
  std::unique_ptr<storage::SqsEvents> events;
  if (!settings.events_queue.empty()) {
    events =
        ATOLL_TRY(storage::hear_events(command.uri, bucket.names, settings.events_queue, line));
  }
  fs::MountSessionOptions session;
  session.server.mount_point = command.directory;
  session.server.source = command.uri;
  session.server.read_only = settings.read_only;
  session.server.allow_other = settings.allow_other;
  session.server.kernel_options = settings.kernel_options;
  session.server.attribute_timeout = settings.max_age;
  session.server.log = line;
  session.state_directory = state;
  session.log_file = log_file.empty() ? "standard error" : log_file;
  session.export_at_end = !settings.read_only && settings.exports == fs::ExportPolicy::kOnClose;
  const auto on_ready = [&] {
    if (daemon == nullptr) return;
    if (const auto ready = daemon->ready(log_file); !ready) log.line(ready.error().to_string());
  };
  auto ended = fs::run_mount_session(*layer, std::move(session), stop, on_ready);
  if (!ended) log.line(ended.error().to_string());
  return ended;
}

Result<int> run_mount(MountCommand command, CommandContext& context) {
  const auto settings = ATOLL_TRY(command.options->settings(command.sloppy));
  if (!is_bucket_uri(command.uri)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} is no bucket", command.uri),
                "a bucket is named by s3://BUCKET or s3://BUCKET/PREFIX");
  }
  command.directory = ATOLL_TRY(fs::absolute_path(command.directory));
  ATOLL_TRY(fs::check_not_mounted(command.directory));
  tell_environment(settings);
  if (command.fake) return 0;
  if (command.foreground) {
    ATOLL_TRY(serve(command, settings, nullptr, context.stop(kStopping)));
    return 0;
  }
  auto daemon = ATOLL_TRY(fs::Daemon::start());
  if (!daemon) return 0;  // the caller; the daemon is ready
  const auto served = serve(command, settings, &*daemon, context.stop(kStopping));
  if (served) return 0;
  daemon->failed(served.error());  // the caller says it
  return exit_code(served.error());
}

struct UmountCommand {
  std::string directory;
  bool lazy = false;
};

// By the daemon, which exports what is left.
Result<void> unmount_by_daemon(const std::string& state, bool lazily, const std::stop_token& stop) {
  std::optional<fs::DaemonInfo> info;
  const auto note = [&](const fs::ControlReply& reply) {
    info = reply.info;
    return true;
  };
  if (!ATOLL_TRY(fs::ask_daemon(state, {}, stop, note)) || !info) {
    return fail(ErrorCode::kIo, fmt::format("no daemon answers in {}", state));
  }
  FsProgress progress("export");
  ATOLL_TRY(run_request({.state_directory = state},
                        {.command = fs::ControlCommand::kUnmount, .lazily = lazily},
                        {},
                        stop,
                        [&](const fs::ControlReply& reply) { progress.update(reply.progress); }));
  progress.finish();
  if (lazily) return {};  // it ends when the last user is gone
  return fs::wait_for_end(info->pid, stop);
}

Result<int> run_umount(const UmountCommand& command, CommandContext& context) {
  const std::string point = ATOLL_TRY(fs::absolute_path(command.directory));
  const auto mount = fs::mounted_at(ATOLL_TRY(fs::mounts()), point);
  if (!mount || mount->type != fs::kMountType) {
    return fail(ErrorCode::kNotFound, fmt::format("no bucket is mounted on {}", point));
  }
  if (ATOLL_TRY(fs::clear_dead_mounts(point)) > 0) {
    fmt::print(stderr, "{}: the daemon had died; the mount is cleaned away\n", point);
    return 0;
  }
  const std::string state = ATOLL_TRY(state_of_mount(point));
  ATOLL_TRY(unmount_by_daemon(state, command.lazy, context.stop("the rest stays in the journal")));
  return 0;
}

}  // namespace

void add_fs_mount(CLI::App& fs, CommandContext& context) {
  CLI::App* mount = fs.add_subcommand("mount", "Mount a bucket on a directory");
  const auto command = std::make_shared<MountCommand>();
  mount->add_option("URI", command->uri, "Bucket, and prefix if wanted: s3://bucket/coco")
      ->required()
      ->type_name("");
  mount->add_option("DIR", command->directory, "Directory to mount on")->required()->type_name("");
  mount->add_flag("--foreground", command->foreground, "Stay, and log to standard error");
  command->options = FsOptions::add_all(mount);
  // What mount(8) gives to its programs.
  mount->add_flag("-s", command->sloppy, "Pass over unknown options of -o");
  mount->add_flag("-n,-v", command->ignored)->group("");
  mount->add_flag("-f,--fake", command->fake)->group("");
  mount->footer(kMountFooter);
  context.on_run(mount, [command, &context] { return run_mount(*command, context); });
}

void add_fs_umount(CLI::App& fs, CommandContext& context) {
  CLI::App* umount = fs.add_subcommand("umount", "Unmount, when everything is in the bucket");
  const auto command = std::make_shared<UmountCommand>();
  umount->add_option("DIR", command->directory, "Where it is mounted")->required()->type_name("");
  umount->add_flag("--lazy,-l", command->lazy, "Also while it is in use");
  umount->footer(kUmountFooter);
  context.on_run(umount, [command, &context] { return run_umount(*command, context); });
}

}  // namespace atl::cli
