// atoll doctor: whether this machine, these credentials and these buckets are fit for what is to be done.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/own_program.h"
#include "base/suggest.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/job_options.h"
#include "dataset/tfrecord_shards.h"
#include "doctor/bucket_checks.h"
#include "doctor/checks.h"
#include "doctor/finding.h"
#include "doctor/job_checks.h"
#include "doctor/job_file_plan.h"
#include "doctor/machine_checks.h"
#include "storage/environment.h"
#include "storage/open_s3.h"

namespace atl::cli {
namespace {

using doctor::Check;
using doctor::Finding;
using doctor::Severity;

constexpr const char* kFooter =
    "One line for each finding, with what mends it; docs/doctor.md tells what each one means.\n"
    "\n"
    "Examples:\n"
    "  This machine:\n"
    "    atoll doctor\n"
    "  Whether a run could read its data and write its output:\n"
    "    atoll doctor --preset r50_fpn --data s3://bucket/coco --out s3://bucket/runs/first\n"
    "  Whether a bucket may be written to, and mounted:\n"
    "    atoll doctor --write --mount s3://bucket/shared\n"
    "  Whether SageMaker could run a job of four instances on a file system:\n"
    "    atoll doctor --subnet subnet-0a1b2c3d --security-group sg-0a1b2c3d --file-system "
    "fs-0a1b2c3d \\\n"
    "        --role atoll-job --hosts 4 --instance-type ml.p4d.24xlarge --data s3://bucket/coco\n"
    "    atoll doctor --job job.toml\n"
    "\n"
    "Exit code: 0, or 1 when something would fail.";

constexpr const char* kJobGroup = "A training job's AWS side";

struct DoctorCommand {
  std::vector<std::string> buckets;
  std::string data;
  std::string out;
  std::string preset;
  uint64_t batch = 0;
  int hosts = 1;
  doctor::JobPlan job;
  std::string job_file;
  bool write = false;
  bool mount = false;
  bool json = false;
};

std::string environment(const char* name) {
  return storage::environment_variable(name).value_or("");
}

// What is under way, on the last line of a terminal.
class WaitingLine {
 public:
  explicit WaitingLine(bool unicode) : unicode_(unicode) {}
  void show(std::span<const std::string> doing) {
    if (!is_shown_ || doing.empty()) return;
    winsize size{};
    const bool knows_width = ::ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    const size_t width = knows_width ? size.ws_col : 80;
    std::string text = fmt::format("  {} ...", printable(doing.front(), unicode_));
    if (doing.size() > 1) text += fmt::format(" and {}", format_count(doing.size() - 1, "other"));
    fmt::print(stderr, "\r\033[K{:.{}}", text, width - 1);
    std::fflush(stderr);
    is_drawn_ = true;
  }
  void clear() {
    if (!is_drawn_) return;
    fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
    is_drawn_ = false;
  }

 private:
  const bool unicode_;
  const bool is_shown_ = ::isatty(2) == 1;
  bool is_drawn_ = false;
};

class Plan {
 public:
  explicit Plan(const DoctorCommand& command) : command_(command) {}

  Result<std::vector<Check>> checks() {
    ATOLL_TRY(add_machine());
    ATOLL_TRY(add_buckets());
    ATOLL_TRY(add_job());
    return std::move(checks_);
  }

 private:
  Result<void> add_machine() {
    doctor::MachinePlan plan;
    plan.preset = command_.preset;
    plan.batch = command_.batch;
    plan.mounts = command_.mount;
    plan.hosts = command_.hosts;
    if (!storage::is_s3_uri(command_.data)) plan.data_directory = command_.data;
    if (!storage::is_s3_uri(command_.out)) plan.out_directory = command_.out;
    if (!uris().empty()) {
      const auto cache = ATOLL_TRY(storage::read_cache_settings(storage::environment_variable));
      plan.cache_directory = cache.directory;
      plan.cache_bytes = cache.max_bytes;
    }
    if (const auto self = own_program()) {
      plan.program_directory = std::filesystem::path(*self).parent_path();
    }
    checks_ = doctor::machine_checks(machine_, plan);
    return {};
  }

  // Each bucket once, for all that it is to be used for.
  struct Target {
    std::string uri;
    doctor::BucketUse use;
  };
  std::vector<Target> uris() const {
    std::vector<Target> targets;
    const auto add = [&](const std::string& uri, bool writes, bool has_data) {
      if (!storage::is_s3_uri(uri)) return;
      auto found = std::ranges::find(targets, uri, &Target::uri);
      if (found == targets.end()) found = targets.insert(found, {uri, {}});
      found->use.writes |= writes;
      found->use.has_data |= has_data;
    };
    add(command_.data, false, true);
    add(command_.out, true, false);
    for (const std::string& uri : command_.buckets) add(uri, command_.write, false);
    return targets;
  }

  Result<void> add_buckets() {
    const auto now = std::chrono::system_clock::now();
    const std::string probe = doctor::make_probe_name(machine_->host_name(), ::getpid(), now);
    bool is_first = true;
    for (Target& target : uris()) {
      const auto access = ATOLL_TRY(doctor::open_bucket_access(target.uri));
      if (is_first) checks_.push_back(doctor::server_clock_check(access));
      // Two names of one place must not meet there.
      target.use.probe_name = fmt::format("{}-{}", probe, checks_.size());
      checks_.push_back(doctor::bucket_check(access, target.use, is_first));
      is_first = false;
    }
    if (is_first) {
      checks_.push_back({{doctor::id::kClock, "looking at the clock"},
                         [machine = machine_](doctor::Report& report, const std::stop_token&) {
                           report.add(doctor::clock_finding(machine->clock_is_kept()));
                         }});
    }
    return {};
  }

  Result<void> add_job() {
    doctor::JobPlan plan = command_.job;
    plan.instances = command_.hosts;
    std::string region;
    if (!command_.job_file.empty()) {
      const auto file = ATOLL_TRY(read_job_file({.file = command_.job_file}));
      region = file.region;
      plan = doctor::with_job_file(std::move(plan), file);
      checks_.push_back({{doctor::id::kJobFile, "reading the job file"},
                         [findings = doctor::job_file_findings(file, plan)](
                             doctor::Report& report, const std::stop_token&) {
                           for (const Finding& finding : findings) report.add(finding);
                         }});
      if (!doctor::check_job_plan(plan)) return {};  // which that has told
    }
    if (plan.is_empty()) return {};
    if (storage::is_s3_uri(command_.data)) plan.reads.push_back(command_.data);
    if (storage::is_s3_uri(command_.out)) plan.writes.push_back(command_.out);
    for (const std::string& uri : command_.buckets) {
      (command_.write ? plan.writes : plan.reads).push_back(uri);
    }
    const auto client = ATOLL_TRY(doctor::open_job_client(region));
    for (Check& check : doctor::job_checks(client, plan)) checks_.push_back(std::move(check));
    return {};
  }

  const DoctorCommand& command_;
  const std::shared_ptr<const doctor::Machine> machine_ = doctor::this_machine();
  std::vector<Check> checks_;
};

Result<void> check_options(const DoctorCommand& command) {
  for (const std::string& uri : command.buckets) {
    if (storage::is_s3_uri(uri)) continue;
    return fail(ErrorCode::kInvalidInput,
                fmt::format("\"{}\" does not begin with s3://", uri),
                "directories are looked at with --data and --out");
  }
  const auto known = doctor::known_presets();
  const std::vector<std::string> presets(known.begin(), known.end());
  if (!command.preset.empty() && std::ranges::count(presets, command.preset) == 0) {
    const std::string guess = nearest(command.preset, presets);
    return fail(ErrorCode::kInvalidInput,
                fmt::format("preset \"{}\" is not known", command.preset),
                guess.empty() ? fmt::format("known: {}", fmt::join(presets, ", "))
                              : fmt::format("did you mean {}?", guess));
  }
  return doctor::check_job_plan(command.job);
}

std::string summary_of(std::span<const Finding> findings) {
  const auto count = [&](Severity severity) {
    return static_cast<uint64_t>(std::ranges::count(findings, severity, &Finding::severity));
  };
  const uint64_t failures = count(Severity::kFailure);
  const uint64_t warnings = count(Severity::kWarning);
  if (failures + warnings == 0) return "all is well";
  return fmt::format("{}, {}",
                     format_count(failures, "thing would fail", "things would fail"),
                     format_count(warnings, "warning"));
}

Result<int> run_doctor(DoctorCommand command, CommandContext& context) {
  // As train takes it; what lies there is files all the same.
  if (dataset::is_tfrecord_uri(command.data)) {
    command.data = ATOLL_TRY(dataset::parse_tfrecord_uri(command.data)).directory;
  }
  ATOLL_TRY(check_options(command));
  const auto stop = context.stop("stopping");
  std::vector<Check> checks = ATOLL_TRY(Plan(command).checks());
  const bool unicode =
      doctor::writes_unicode(environment("LC_ALL"), environment("LC_CTYPE"), environment("LANG"));
  WaitingLine waiting(unicode);
  doctor::RunOptions options;
  options.on_waiting = [&](std::span<const std::string> doing) { waiting.show(doing); };
  options.on_finding = [&](const Finding& finding) {
    if (command.json) return;
    waiting.clear();
    fmt::print("{}\n", doctor::line_of(finding, unicode));
    std::fflush(stdout);
  };
  const doctor::RunOutcome outcome = doctor::run_checks(std::move(checks), options, stop);
  waiting.clear();
  if (outcome.stopped) {
    // What hangs would hang on.
    if (outcome.left_behind) ::_exit(context.signal_exit_code().value_or(1));
    return fail(ErrorCode::kCancelled, "stopped before everything was looked at");
  }
  if (command.json) {
    fmt::print("{}\n", doctor::json_of(outcome.findings));
  } else {
    fmt::print("{}\n", summary_of(outcome.findings));
  }
  const int code = doctor::exit_code(outcome.findings);
  if (outcome.left_behind) {
    const bool is_written = std::fflush(stdout) == 0;
    ::_exit(is_written ? code : 1);
  }
  return code;
}

void add_job_options(CLI::App& command, doctor::JobPlan& job) {
  const auto add = [&](const char* name, auto& value, const char* text, const char* type) {
    return command.add_option(name, value, text)->type_name(type)->group(kJobGroup);
  };
  // One value behind each: what follows may be a bucket.
  const auto add_list = [&](const char* name, auto& value, const char* text, const char* type) {
    add(name, value, text, type)
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  add_list("--subnet", job.subnets, "Subnet of the job (repeatable)", "ID");
  add_list("--security-group", job.security_groups, "Its security group (repeatable)", "ID");
  add("--file-system", job.file_system, "FSx for Lustre file system that it reads", "ID");
  add_list("--directory", job.directories, "A channel's directory there: /MOUNTNAME/…", "PATH");
  add("--role", job.role, "The role that it runs as", "NAME");
  add("--instance-type", job.instance_type, "Such as ml.p4d.24xlarge", "NAME");
  add("--image", job.image, "Its container image in ECR", "IMAGE");
  add("--kms-key", job.kms_key, "Key of its buckets and volumes", "ARN");
}

}  // namespace

void add_doctor(CLI::App& app, CommandContext& context) {
  const auto options = std::make_shared<DoctorCommand>();
  CLI::App* command =
      app.add_subcommand("doctor", "Check this machine, credentials, buckets and a job's AWS side");
  command->add_option("BUCKET", options->buckets, "s3://BUCKET/PREFIX to look at")->type_name("");
  command->add_option("--data", options->data, "What a run would read: a directory or a bucket")
      ->type_name("DIR");
  command->add_option("--out", options->out, "Where a run would write: a directory or a bucket")
      ->type_name("DIR");
  command->add_option("--preset", options->preset, "What would be trained: its memory is counted")
      ->type_name("NAME");
  command
      ->add_option("--batch", options->batch, "Images of its step on this machine [the preset's]")
      ->type_name("N")
      ->check(whole_number(1));
  command->add_option("--hosts", options->hosts, "Hosts of the job")
      ->type_name("N")
      ->check(whole_number(1))
      ->capture_default_str();
  command->add_option("--job", options->job_file, "A job file (docs/jobs.md): its AWS side")
      ->type_name("FILE")
      ->group(kJobGroup);
  add_job_options(*command, options->job);
  command->add_flag("--write", options->write, "Put a probe into each BUCKET and remove it again");
  command->add_flag("--mount", options->mount, "A bucket is to be mounted here: FUSE must work");
  command->add_flag("--json", options->json, "Print JSON instead of text");
  command->footer(kFooter);
  context.on_run(command, [options, &context] { return run_doctor(*options, context); });
}

}  // namespace atl::cli
