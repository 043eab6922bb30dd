#include "sagemaker/local_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "job/cpu_slices.h"
#include "sagemaker/archive.h"
#include "sagemaker/checkpoint_sync.h"
#include "sagemaker/failure.h"
#include "sagemaker/local_jobs.h"
#include "sagemaker/pipe_feed.h"
#include "sagemaker/sandbox.h"
#include "storage/cache/process_identity.h"
#include "storage/local_store.h"
#include "storage/open_s3.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

enum class Ending { kDone, kFailed, kStopped, kTimeUp, kInterrupted };

// A descriptor that can be read once `stop` is requested.
class StopDescriptor {
 public:
  explicit StopDescriptor(const std::stop_token& stop)
      : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), on_stop_(stop, Ring{fd_.get()}) {}
  int get() const { return fd_.get(); }

 private:
  struct Ring {
    int fd;
    void operator()() const {
      const uint64_t one = 1;
      (void)!::write(fd, &one, sizeof(one));
    }
  };
  const UniqueFd fd_;
  const std::stop_callback<Ring> on_stop_;
};

class LocalRun {
 public:
  LocalRun(const LocalRunOptions& options)
      : options_(options),
        sandbox_(Sandbox::at(options.root, static_cast<size_t>(options.job.instances.count))),
        cycle_(options.job.name,
               local_arn(options.region, options.job.name),
               {.now = [] { return std::chrono::system_clock::now(); },
                .entered = [this](const JobRecord&, const Transition&) { entered(); }}),
        stop_(options.stop),
        processes_([this](size_t host, OutputStream stream, std::string_view line) {
          on_line(host, stream, line);
        }) {
    state_.process = storage::this_process().text();
    state_.hosts = static_cast<int>(sandbox_.hosts.size());
    state_.output = absolute(options.job.output.uri);
  }

  Result<JobRecord> run() {
    ATOLL_TRY(take_root());
    cycle_.enter(
        "Starting",
        fmt::format(
            "{} in {}", format_count(sandbox_.hosts.size(), "host"), sandbox_.root.string()));
    // A place that cannot be written to should not show after a night's training.
    Result<void> lived = state_.output.empty() ? Result<void>() : check_output();
    if (lived) lived = live();
    if (!lived) {
      const bool stopped = lived.error().code == ErrorCode::kCancelled;
      if (stopped) {
        cycle_.enter("Stopped", "before it trained");
      } else {
        cycle_.fail(lived.error().to_string());
      }
    }
    mounts_.clear();
    ATOLL_TRY(recorded_);
    return cycle_.record();
  }

 private:
  struct Feed {
    size_t host;
    std::string channel;
    std::unique_ptr<PipeFeed> pipe;
  };

  // --- the folder ---

  Result<void> take_root() {
    ATOLL_TRY(storage::make_directories(sandbox_.root.string()));
    storage::LocalStore root(sandbox_.root.string());
    auto claim = root.claim();
    const auto before = ATOLL_TRY(read_local_job(sandbox_.root));
    if (!claim || (before && !before->record.has_ended())) {
      return fail(ErrorCode::kConflict,
                  fmt::format("a job runs in {} already", sandbox_.root.string()),
                  fmt::format("\"{}\" stops it", job_command("stop", sandbox_.root)));
    }
    claim_ = std::move(*claim);
    if (before && !options_.replace) {
      return fail(
          ErrorCode::kConflict,
          fmt::format("{} holds a job that is {}", sandbox_.root.string(), before->record.status),
          "give --replace to take its place, or another --name");
    }
    return empty_sandbox(sandbox_);
  }

  void entered() {
    state_.record = cycle_.record();
    if (auto written = write_local_job(sandbox_.root, state_); !written && recorded_) {
      recorded_ = std::move(written);
    }
    if (options_.entered) options_.entered(state_.record.transitions.back());
  }

  Result<std::unique_ptr<storage::ObjectStore>> open_store(const std::string& uri) const {
    return options_.open_store ? options_.open_store(uri) : storage::open_store(uri);
  }

  Result<void> check_output() const {
    if (options_.open_store) return {};
    return storage::open_store(state_.output, /*for_writing=*/true).map([](auto&&) {});
  }

  static std::string absolute(const std::string& uri) {
    if (uri.empty() || uri.find("://") != std::string::npos) return uri;
    return stdfs::absolute(uri).lexically_normal().string();
  }

  void note(std::string_view text) const {
    if (options_.note) options_.note(text);
  }

  // --- the life ---

  Result<void> live() {
    ATOLL_TRY(open_checkpoints());
    bool may_interrupt = options_.spot_interrupt_after.has_value() || options_.interrupt_at;
    while (true) {
      for (size_t host = 0; host < sandbox_.hosts.size(); ++host) {
        ATOLL_TRY(make_host(sandbox_, host, options_.job));
      }
      ATOLL_TRY(stage());
      ATOLL_TRY(restore_checkpoints());
      const Ending ending = ATOLL_TRY(train(may_interrupt));
      if (ending == Ending::kInterrupted) {
        cycle_.enter("Interrupted", "the spot instance was taken away");
        cycle_.enter("Starting", "on another one");
        may_interrupt = false;
        continue;
      }
      return finish(ending);
    }
  }

  Result<void> stage() {
    if (options_.job.channels.empty()) return {};
    cycle_.enter("Downloading", format_count(options_.job.channels.size(), "channel"));
    for (const JobChannel& channel : options_.job.channels) {
      if (channel.mode == DataMode::kInPlace) continue;
      ATOLL_TRY_CONTEXT(stage_channel(channel), fmt::format("channel {}", channel.name));
    }
    staged_ = true;
    return {};
  }

  Result<void> stage_channel(const JobChannel& channel) {
    for (size_t host = 0; host < sandbox_.hosts.size(); ++host) {
      const bool own = channel.sharded || host == 0;
      stdfs::path folder =
          channel.sharded ? sandbox_.shard(channel.name, host) : sandbox_.channel(channel.name);
      if (channel.file_system && !storage::is_s3_uri(channel.local_source())) {
        folder = stdfs::absolute(channel.local_source());  // where it is mounted
        if (!stdfs::is_directory(folder)) {
          return fail(ErrorCode::kNotFound, fmt::format("{} is no folder", folder.string()));
        }
      } else if (own && !staged_) {
        ATOLL_TRY(fill(channel, folder, host));
      }
      const stdfs::path link = sandbox_.hosts[host].ml / "input/data" / channel.name;
      if (channel.mode == DataMode::kPipe) {
        feeds_.push_back({host, channel.name, ATOLL_TRY(PipeFeed::start(folder, link.string()))});
        continue;
      }
      std::error_code error;
      stdfs::create_directory_symlink(folder, link, error);
      if (error) return fail_errno(link.string(), error.value());
    }
    return {};
  }

  Result<void> fill(const JobChannel& channel, const stdfs::path& folder, size_t host) {
    const std::string& source = channel.local_source();
    if (channel.mode == DataMode::kFastFile) {
      if (!options_.mount) {
        return fail(ErrorCode::kUnsupported, "nothing can be mounted here");
      }
      std::error_code error;
      stdfs::create_directories(folder, error);
      mounts_.push_back(ATOLL_TRY(options_.mount(source, folder)));
      return {};
    }
    const Shard shard = channel.sharded ? Shard{host, sandbox_.hosts.size()} : Shard{};
    const StageProgress progress = [&](const StagedData& data) {
      if (options_.staging) options_.staging(channel.name, data);
    };
    const auto data = ATOLL_TRY(stage_data(source, folder, shard, progress, options_.stop));
    note(fmt::format("channel {}: {}, {}",
                     channel.name,
                     format_count(data.files, "file"),
                     format_bytes(data.bytes)));
    return {};
  }

  // Behind an attempt's processes. What ended one before, the program has only seen as an early end of its stream.
  void end_feeds() {
    for (const Feed& feed : feeds_) {
      if (const auto ended = feed.pipe->end(); !ended) {
        note(fmt::format("channel {}: the pipe of {} ended early: {}",
                         feed.channel,
                         sandbox_.hosts[feed.host].name,
                         ended.error().to_string()));
      }
    }
    feeds_.clear();
  }

  // --- checkpoints ---

  Result<void> open_checkpoints() {
    const std::string uri = absolute(options_.job.checkpoints.uri);
    if (uri.empty()) return {};
    checkpoints_ = ATOLL_TRY_CONTEXT(open_store(uri), "checkpoints.uri");
    return {};
  }

  Result<void> restore_checkpoints() {
    syncs_.clear();
    if (!checkpoints_) return {};
    size_t files = 0;
    for (const SandboxHost& host : sandbox_.hosts) {
      syncs_.emplace_back(*checkpoints_, checkpoint_folder(host, options_.job));
      files = ATOLL_TRY_CONTEXT(syncs_.back().restore(), "restoring the checkpoints");
    }
    if (files > 0) {
      note(fmt::format("checkpoints: {} restored", format_count(files, "file")));
    }
    return {};
  }

  Result<void> synchronise(bool last) {
    for (CheckpointSync& sync : syncs_) {
      auto done = sync.synchronise(last);
      if (done) continue;
      if (last) {
        return tl::unexpected(std::move(done).error().with_context("keeping the checkpoints"));
      }
      note(fmt::format("checkpoints: {}; tried again", done.error().to_string()));
    }
    return {};
  }

  // --- training ---

  std::vector<HostStart> starts() const {
    const auto slices =
        job::cpu_slices(job::allowed_cpus(), static_cast<int>(sandbox_.hosts.size()));
    std::vector<HostStart> starts;
    for (size_t i = 0; i < sandbox_.hosts.size(); ++i) {
      HostStart start;
      start.command = options_.program;
      start.environment = host_environment(options_.environment,
                                           options_.job,
                                           sandbox_.hosts[i],
                                           options_.region,
                                           cycle_.record().arn);
      if (sandbox_.hosts.size() > 1 && i < slices.size()) start.cpus = slices[i];
      share_accelerators(start.environment, options_.accelerators, sandbox_.hosts.size(), i);
      starts.push_back(std::move(start));
    }
    return starts;
  }

  void on_line(size_t host, OutputStream stream, std::string_view line) {
    logs_[host] << line << '\n' << std::flush;
    if (options_.on_line) options_.on_line(host, stream, line);
    if (options_.interrupt_at && options_.interrupt_at(line)) line_interrupts_ = true;
  }

  Result<Ending> train(bool may_interrupt) {
    if (options_.stop.stop_requested()) {
      return fail(ErrorCode::kCancelled, "stopped before training");
    }
    logs_.clear();
    for (size_t i = 0; i < sandbox_.hosts.size(); ++i) {
      logs_.emplace_back(sandbox_.log(i), std::ios::app | std::ios::binary);
      if (!logs_.back()) return fail_errno(sandbox_.log(i).string(), errno);
    }
    cycle_.enter("Training", fmt::format("{}", fmt::join(options_.program, " ")));
    attempt_began_ = Clock::now();
    if (!job_began_) job_began_ = attempt_began_;
    line_interrupts_ = false;
    failure_.clear();
    ATOLL_TRY(processes_.start(starts()));
    const Ending ending = watch(may_interrupt);
    if (ending == Ending::kFailed) failure_ = describe_failure(*processes_.failed());
    processes_.clear();
    end_feeds();
    kept_ = synchronise(/*last=*/true);
    // Another attempt would begin without them. At the end the model is handed over first.
    if (!kept_ && ending == Ending::kInterrupted) return tl::unexpected(kept_.error());
    return ending;
  }

  std::optional<Ending> why_to_end(bool may_interrupt) const {
    const auto now = Clock::now();
    if (options_.stop.stop_requested()) return Ending::kStopped;
    if (processes_.failed()) return Ending::kFailed;
    if (now - *job_began_ > std::chrono::seconds(options_.job.stopping.max_runtime_s)) {
      return Ending::kTimeUp;
    }
    const auto& after = options_.spot_interrupt_after;
    if (may_interrupt && (line_interrupts_ || (after && now - attempt_began_ >= *after))) {
      return Ending::kInterrupted;
    }
    return std::nullopt;
  }

  // Until all have ended.
  Ending watch(bool may_interrupt) {
    std::optional<Ending> ending;
    std::optional<Clock::time_point> kill_at;
    auto synchronise_at = Clock::now() + options_.checkpoint_every;
    // Once it has rung, it rings on.
    const UniqueFd silence(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    while (!processes_.all_ended()) {
      constexpr milliseconds kOften{100};
      processes_.wait(kOften, ending ? silence.get() : stop_.get());
      if (!ending) {
        ending = why_to_end(may_interrupt);
        if (ending) {
          announce(*ending);
          processes_.signal(SIGTERM);
          kill_at = Clock::now() + options_.grace;
        }
      }
      if (kill_at && Clock::now() >= *kill_at) processes_.signal(SIGKILL);
      if (Clock::now() >= synchronise_at) {
        (void)synchronise(/*last=*/false);
        synchronise_at = Clock::now() + options_.checkpoint_every;
      }
    }
    if (ending) return *ending;
    return processes_.failed() ? Ending::kFailed : Ending::kDone;
  }

  void announce(Ending ending) {
    if (ending == Ending::kStopped) cycle_.enter("Stopping", "asked to stop");
    if (ending == Ending::kTimeUp) {
      cycle_.enter(
          "Stopping",
          fmt::format("stopping.max_runtime_s = {} is over", options_.job.stopping.max_runtime_s));
    }
  }

  std::string describe_failure(size_t host) const {
    const SandboxHost& it = sandbox_.hosts[host];
    std::ifstream file(it.ml / "output/failure", std::ios::binary);
    constexpr size_t kMostRead = 64 << 10;  // a foreign program's; LifeCycle::fail() shortens it
    std::string text(kMostRead, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
    while (text.ends_with('\n')) text.pop_back();
    if (text.empty()) text = processes_.last_error_line(host);
    return fmt::format("{}{}{} ended with exit code {}",
                       text,
                       text.empty() ? "" : "; ",
                       it.name,
                       processes_.exit_code(host).value_or(-1));
  }

  // --- the end ---

  Result<void> finish(Ending ending) {
    cycle_.enter("Uploading", "");
    const bool failed = ending == Ending::kFailed;
    // The model first: where room ends, the rest can be done without.
    if (!failed) ATOLL_TRY(archive("model", "model"));
    if (auto archived = archive("output", "output/data"); !archived) {
      if (!failed) return archived;
      note(archived.error().to_string());  // the failure keeps its own reason
    }
    const auto open = [this](const std::string& uri) { return open_store(uri); };
    state_.record = cycle_.record();
    auto model = upload_archives(sandbox_.root, state_, open);
    if (model) cycle_.set_model(*model);
    if (failed) {
      cycle_.fail(failure_);
    } else if (!model) {
      return tl::unexpected(std::move(model).error());
    } else if (!kept_) {
      return tl::unexpected(kept_.error());
    } else if (ending == Ending::kDone) {
      cycle_.enter("Completed", "");
    } else {
      cycle_.enter(ending == Ending::kTimeUp ? "MaxRuntimeExceeded" : "Stopped", "");
    }
    return {};
  }

  Result<void> archive(const std::string& name, const char* folder) {
    std::vector<stdfs::path> folders;
    for (const SandboxHost& host : sandbox_.hosts) folders.push_back(host.ml / folder);
    const bool compressed = options_.job.output.compressed;
    const stdfs::path file = sandbox_.output() / (name + (compressed ? ".tar.gz" : ".tar"));
    const auto contents = ATOLL_TRY(write_archive(folders, file, compressed));
    for (const std::string& text : contents.notes) note(text + ": not in the archive");
    if (contents.files == 0) {
      std::error_code ignored;
      stdfs::remove(file, ignored);
      if (name == "model") note("nothing was written to /opt/ml/model: there is no model.tar.gz");
      return {};
    }
    note(fmt::format("{}: {}, {}",
                     file.filename().string(),
                     format_count(contents.files, "file"),
                     format_bytes(contents.bytes)));
    return {};
  }

  const LocalRunOptions& options_;
  const Sandbox sandbox_;
  LocalJob state_;
  LifeCycle cycle_;
  Result<void> recorded_;  // whether job.json could be written each time
  storage::Claim claim_;
  const StopDescriptor stop_;
  HostProcesses processes_;
  std::vector<std::ofstream> logs_;
  std::vector<Mount> mounts_;
  std::vector<Feed> feeds_;
  std::unique_ptr<storage::ObjectStore> checkpoints_;
  std::vector<CheckpointSync> syncs_;
  bool staged_ = false;
  std::optional<Clock::time_point> job_began_;
  Clock::time_point attempt_began_;
  bool line_interrupts_ = false;
  std::string failure_;
  Result<void> kept_;  // the checkpoints, when an attempt had ended
};

}  // namespace

Result<JobRecord> run_locally(const LocalRunOptions& options) { return LocalRun(options).run(); }

}  // namespace atl::sagemaker
