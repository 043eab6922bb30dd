// atoll fs import, export, preload, release: requests to whoever has the bucket open.
#include <fmt/format.h>

#include <memory>

#include "base/bytes.h"
#include "cli/command.h"
#include "cli/fs_options.h"
#include "cli/fs_progress.h"
#include "cli/fs_target.h"

namespace atl::cli {
namespace {

constexpr const char* kImportFooter =
    "Lists the bucket and takes over what is new, changed or deleted there; content comes when it "
    "is read.\n"
    "A mount does this by itself every --import-interval seconds.\n"
    "\n"
    "Examples:\n"
    "  atoll fs import /mnt/coco\n"
    "  atoll fs import /mnt/coco/annotations";

constexpr const char* kExportFooter =
    "Writes every file that is dirty (\"atoll fs status\") to the bucket, and waits for it.\n"
    "\n"
    "Examples:\n"
    "  atoll fs export /mnt/runs\n"
    "  atoll fs export /mnt/runs/2026-11-26/model.safetensors";

constexpr const char* kPreloadFooter =
    "Fetches file contents into the block cache, many at a time, so that reading them later needs "
    "no network.\n"
    "Ctrl-C stops; what has come stays.\n"
    "\n"
    "Examples:\n"
    "  atoll fs preload /mnt/coco/train2017\n"
    "  atoll fs preload /mnt/coco --glob 'annotations/*.json'\n"
    "  atoll fs preload s3://bucket/coco --path val2017";

constexpr const char* kReleaseFooter =
    "Frees the local disk of files whose content is in the bucket; they stay in the tree and come "
    "back when\n"
    "they are read. Dirty files are never released.\n"
    "\n"
    "Examples:\n"
    "  atoll fs release /mnt/coco/train2017\n"
    "  atoll fs release /mnt/coco --unused 7d";

constexpr const char* kUnmountedPath = "Below the root of an s3:// target that is not mounted";

struct JobCommand {
  std::string target;
  std::string path;
  std::string glob;
  std::string unused = "0";
  std::shared_ptr<FsOptions> options;
};

// "90", "15m", "6h", "7d".
Result<int64_t> parse_age_s(const std::string& text) {
  constexpr int64_t kMinute = 60;
  constexpr int64_t kHour = 60 * kMinute;
  constexpr int64_t kDay = 24 * kHour;
  constexpr int64_t kMost = 36'500;  // a century in days
  const auto wrong = [&] {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("--unused {} is no time", text),
                "a number of seconds, or with a unit: 90, 15m, 6h, 7d");
  };
  int64_t unit = 1;
  std::string_view digits = text;
  if (digits.ends_with('s')) digits.remove_suffix(1);
  for (const auto& [letter, seconds] : {std::pair{'m', kMinute}, {'h', kHour}, {'d', kDay}}) {
    if (!digits.ends_with(letter)) continue;
    digits.remove_suffix(1);
    unit = seconds;
    break;
  }
  if (digits.empty() || digits.size() > 10) return wrong();
  int64_t number = 0;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return wrong();
    number = number * 10 + (digit - '0');
  }
  if (number > kMost * kDay / unit) return wrong();
  return number * unit;
}

Result<fs::ControlReply> run_job(const JobCommand& command,
                                 fs::ControlRequest request,
                                 const char* phase,
                                 const std::stop_token& stop) {
  const auto settings = ATOLL_TRY(command.options->settings());
  auto target = ATOLL_TRY(find_target(command.target));
  if (!command.path.empty() && target.uri.empty()) {
    return fail(ErrorCode::kInvalidInput,
                "--path is for s3:// targets",
                fmt::format("name the file itself: {}/{}", command.target, command.path));
  }
  request.path = target.uri.empty() ? target.path : command.path;
  FsProgress progress(phase);
  auto done = run_request(target, request, settings, stop, [&](const fs::ControlReply& reply) {
    progress.update(reply.progress);
  });
  if (done && done->progress.files > 0) progress.update(done->progress);
  progress.finish();
  return done;
}

Result<int> print_done(const Result<fs::ControlReply>& done, std::string_view what) {
  if (!done) return tl::unexpected(done.error());
  fmt::print("{} {}, {}\n",
             format_count(done->progress.files, "file"),
             what,
             format_bytes(done->progress.bytes));
  return 0;
}

Result<int> run_import(const JobCommand& command, CommandContext& context) {
  const auto stop = context.stop("stopping; what has been listed stays");
  const auto done =
      ATOLL_TRY(run_job(command, {.command = fs::ControlCommand::kImport}, "import", stop));
  if (!done.imported) return fail(ErrorCode::kInternal, "the import gave no counts");
  const storage::ImportCounts& counts = *done.imported;
  fmt::print("{} listed by {}: {} new, {} changed, {} deleted\n",
             format_count(counts.listed, "object"),
             format_count(counts.requests, "request"),
             counts.created,
             counts.changed,
             counts.deleted);
  return 0;
}

Result<int> run_export(const JobCommand& command, CommandContext& context) {
  const auto stop = context.stop("stopping; what is not exported yet stays in the journal");
  return print_done(run_job(command, {.command = fs::ControlCommand::kExport}, "export", stop),
                    "exported");
}

Result<int> run_preload(const JobCommand& command, CommandContext& context) {
  const auto stop = context.stop("stopping; what has come stays in the cache");
  return print_done(run_job(command,
                            {.command = fs::ControlCommand::kPreload, .glob = command.glob},
                            "preload",
                            stop),
                    "in the cache");
}

Result<int> run_release(const JobCommand& command, CommandContext& context) {
  const int64_t unused_s = ATOLL_TRY(parse_age_s(command.unused));
  const auto stop = context.stop("stopping");
  return print_done(run_job(command,
                            {.command = fs::ControlCommand::kRelease, .unused_s = unused_s},
                            "release",
                            stop),
                    "released");
}

std::shared_ptr<JobCommand> add_job(CLI::App* job, const char* footer) {
  auto command = std::make_shared<JobCommand>();
  job->add_option("TARGET", command->target, "A path in a mount, or s3://BUCKET/PREFIX")
      ->required()
      ->type_name("");
  job->add_option("--path", command->path, kUnmountedPath)->type_name("PATH");
  command->options = FsOptions::add_opening(job);
  job->footer(footer);
  return command;
}

}  // namespace

void add_fs_import(CLI::App& fs, CommandContext& context) {
  CLI::App* job = fs.add_subcommand("import", "Take over what has changed in the bucket, now");
  const auto command = add_job(job, kImportFooter);
  context.on_run(job, [command, &context] { return run_import(*command, context); });
}

void add_fs_export(CLI::App& fs, CommandContext& context) {
  CLI::App* job = fs.add_subcommand("export", "Write changed files to the bucket, now");
  const auto command = add_job(job, kExportFooter);
  context.on_run(job, [command, &context] { return run_export(*command, context); });
}

void add_fs_preload(CLI::App& fs, CommandContext& context) {
  CLI::App* job = fs.add_subcommand("preload", "Fetch file contents into the cache ahead of use");
  const auto command = add_job(job, kPreloadFooter);
  job->add_option("--glob",
                  command->glob,
                  "Only files of such a name, or path below TARGET: 'train2017/*.jpg'")
      ->type_name("GLOB");
  context.on_run(job, [command, &context] { return run_preload(*command, context); });
}

void add_fs_release(CLI::App& fs, CommandContext& context) {
  CLI::App* job = fs.add_subcommand("release", "Free the local disk of what is in the bucket");
  const auto command = add_job(job, kReleaseFooter);
  job->add_option(
         "--unused", command->unused, "Only files that nobody has read for so long: 6h, 7d")
      ->type_name("AGE");
  context.on_run(job, [command, &context] { return run_release(*command, context); });
}

}  // namespace atl::cli
