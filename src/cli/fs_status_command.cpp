// atoll fs status: the mounts of this machine, or the state of files.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "cli/command.h"
#include "cli/fs_options.h"
#include "cli/fs_target.h"
#include "fs/control_socket.h"
#include "fs/mount_point.h"

namespace atl::cli {
namespace {

using nlohmann::ordered_json;

constexpr const char* kFooter =
    "Without TARGET: the mounts of this machine. With one: a line for each file, as lfs hsm_state "
    "has it,\n"
    "and the totals:\n"
    "  exists    the bucket has this file, perhaps an older content\n"
    "  archived  the bucket has exactly this content\n"
    "  dirty     the content here is newer\n"
    "  released  archived, and no byte of it is on the local disk\n"
    "Names show control characters, backslashes and bytes that are no UTF-8 as \\n, \\\\, \\xff.\n"
    "\n"
    "Examples:\n"
    "  atoll fs status\n"
    "  atoll fs status /mnt/coco/annotations\n"
    "  atoll fs status /mnt/coco --total --json";

struct StatusCommand {
  std::string target;
  std::string path;
  bool total = false;
  bool json = false;
  std::shared_ptr<FsOptions> options;
};

struct Totals {
  uint64_t files = 0;
  uint64_t exists = 0;
  uint64_t archived = 0;
  uint64_t dirty = 0;
  uint64_t released = 0;
  uint64_t size_bytes = 0;
  uint64_t cached_bytes = 0;

  void add(const fs::FileState& state) {
    if (state.is_directory) return;
    ++files;
    exists += state.exists ? 1 : 0;
    archived += state.archived ? 1 : 0;
    dirty += state.dirty ? 1 : 0;
    released += state.released ? 1 : 0;
    size_bytes += state.size_bytes;
    cached_bytes += state.cached_bytes;
  }
};

std::string words_of(const fs::FileState& state) {
  std::string words;
  const auto add = [&](bool is, std::string_view word) {
    if (is) words += fmt::format("{}{}", words.empty() ? "" : " ", word);
  };
  add(state.released, "released");
  add(state.exists, "exists");
  add(state.archived, "archived");
  add(state.dirty, "dirty");
  return words.empty() ? "local" : words;  // never exported yet
}

ordered_json json_of(const fs::FileState& state) {
  return {{"path", shown_name(state.path)},
          {"directory", state.is_directory},
          {"exists", state.exists},
          {"archived", state.archived},
          {"dirty", state.dirty},
          {"released", state.released},
          {"size_bytes", state.size_bytes},
          {"cached_bytes", state.cached_bytes}};
}

ordered_json json_of(const Totals& totals) {
  return {{"files", totals.files},
          {"exists", totals.exists},
          {"archived", totals.archived},
          {"dirty", totals.dirty},
          {"released", totals.released},
          {"size_bytes", totals.size_bytes},
          {"cached_bytes", totals.cached_bytes}};
}

void print_state(const fs::FileState& state) {
  if (state.is_directory) return;
  fmt::print("{}: {}, {} of {} here\n",
             shown_name(state.path),
             words_of(state),
             format_bytes(state.cached_bytes),
             format_bytes(state.size_bytes));
}

void print_totals(const Totals& totals) {
  fmt::print("{}: {} exist, {} archived, {} dirty, {} released; {} of {} here\n",
             format_count(totals.files, "file"),
             totals.exists,
             totals.archived,
             totals.dirty,
             totals.released,
             format_bytes(totals.cached_bytes),
             format_bytes(totals.size_bytes));
}

Result<int> show_files(const StatusCommand& command, CommandContext& context) {
  const auto settings = ATOLL_TRY(command.options->settings());
  const auto target = ATOLL_TRY(find_target(command.target));
  const fs::ControlRequest request{.command = fs::ControlCommand::kStatus,
                                   .path = target.uri.empty() ? target.path : command.path,
                                   .recursive = true};
  Totals totals;
  // One object a line, so that a million files need no memory: JSON Lines but for the last.
  const auto show = [&](const fs::ControlReply& reply) {
    for (const fs::FileState& state : reply.states) {
      totals.add(state);
      if (command.total) continue;
      if (command.json) {
        fmt::print("{}\n", json_of(state).dump());
      } else {
        print_state(state);
      }
    }
  };
  ATOLL_TRY(run_request(target, request, settings, context.stop("stopping"), show));
  if (command.json) {
    fmt::print("{}\n", ordered_json{{"total", json_of(totals)}}.dump());
  } else {
    print_totals(totals);
  }
  return 0;
}

// What a daemon says of itself; nullopt where none answers.
std::optional<fs::DaemonInfo> ask_info(const std::string& mount_point,
                                       const std::stop_token& stop) {
  const auto state = state_of_mount(mount_point);
  if (!state) return std::nullopt;
  std::optional<fs::DaemonInfo> info;
  const auto asked = fs::ask_daemon(*state, {}, stop, [&](const fs::ControlReply& reply) {
    info = reply.info;
    return true;
  });
  return asked && *asked ? info : std::nullopt;
}

ordered_json json_of(const fs::Mount& mount, const std::optional<fs::DaemonInfo>& info) {
  ordered_json object = {{"mount_point", shown_name(mount.point)},
                         {"source", shown_name(mount.source)},
                         {"alive", info.has_value()}};
  if (!info) return object;
  object["pid"] = info->pid;
  object["log"] = shown_name(info->log_file);
  object["exported_files"] = info->counts.exported_files;
  object["exported_bytes"] = info->counts.exported_bytes;
  object["removed_objects"] = info->counts.removed_objects;
  object["failed_exports"] = info->counts.failed_exports;
  object["conflicts"] = info->counts.conflicts;
  object["waiting_exports"] = info->counts.waiting_exports;
  object["hidden_keys"] = info->counts.hidden_keys;
  return object;
}

void print_mount(const fs::Mount& mount, const std::optional<fs::DaemonInfo>& info) {
  fmt::print("{} on {}: ", shown_name(mount.source), shown_name(mount.point));
  if (!info) {
    fmt::print("the daemon is dead; \"atoll fs umount\" cleans up, \"atoll fs mount\" heals\n");
    return;
  }
  const fs::LayerCounts& counts = info->counts;
  fmt::print("process {}, {} exported ({}), {} waiting, {}, {}{}; log: {}\n",
             info->pid,
             format_count(counts.exported_files, "file"),
             format_bytes(counts.exported_bytes),
             counts.waiting_exports,
             format_count(counts.failed_exports, "failed attempt"),
             format_count(counts.conflicts, "conflict"),
             counts.hidden_keys == 0 ? std::string()
                                     : fmt::format(", {} of the bucket not shown",
                                                   format_count(counts.hidden_keys, "key")),
             shown_name(info->log_file));
}

Result<int> show_mounts(const StatusCommand& command, CommandContext& context) {
  const auto stop = context.stop("stopping");
  ordered_json all = ordered_json::array();
  for (const fs::Mount& mount : ATOLL_TRY(fs::mounts())) {
    if (mount.type != fs::kMountType) continue;
    const auto info = ask_info(mount.point, stop);
    if (command.json) {
      all.push_back(json_of(mount, info));
    } else {
      print_mount(mount, info);
    }
  }
  if (command.json) fmt::print("{}\n", all.dump(2));
  return 0;
}

}  // namespace

void add_fs_status(CLI::App& fs, CommandContext& context) {
  CLI::App* status =
      fs.add_subcommand("status", "Show mounts, or what is here and what is exported");
  const auto command = std::make_shared<StatusCommand>();
  status->add_option("TARGET", command->target, "A path in a mount, or s3://BUCKET/PREFIX")
      ->type_name("");
  status->add_option("--path", command->path, "Below the root of an s3:// target")
      ->type_name("PATH");
  status->add_flag("--total", command->total, "The totals only");
  status->add_flag("--json",
                   command->json,
                   "Print JSON instead of text: mounts as an array, files as an object a line");
  command->options = FsOptions::add_opening(status);
  status->footer(kFooter);
  context.on_run(status, [command, &context] {
    return command->target.empty() ? show_mounts(*command, context) : show_files(*command, context);
  });
}

}  // namespace atl::cli
