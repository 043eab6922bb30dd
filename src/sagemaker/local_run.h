// A training job on this machine, through the same life as at SageMaker: the contract's folders for every host, the channels'
// data, the program of each host as a process, checkpoints kept in step with their place, an interruption if wanted, the
// archives of model and output, the upload.
//
// What differs from SageMaker, and why, is in docs/jobs.md.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sagemaker/channel_data.h"
#include "sagemaker/host_processes.h"
#include "sagemaker/job_file.h"
#include "sagemaker/life_cycle.h"
#include "storage/storage.h"

namespace atl::sagemaker {

// Something mounted for as long as this lives.
using Mount = std::shared_ptr<const void>;

struct LocalRunOptions {
  JobFile job;                           // without problems_of_local_run()
  std::filesystem::path root;            // the sandbox; made
  bool replace = false;                  // a job that has ended may be there already
  std::vector<std::string> program;      // what each host starts
  std::vector<std::string> environment;  // NAME=VALUE: ours
  std::string region;                    // for the hosts; may be ""
  int accelerators = 0;                  // GPUs, shared out among several hosts

  // SIGTERM to SIGKILL.
  std::chrono::milliseconds grace{120'000};
  // The first time that the job trains, it is interrupted after so long, or when a host writes a line that `interrupt_at` says
  // yes to.
  std::optional<std::chrono::milliseconds> spot_interrupt_after;
  std::function<bool(std::string_view line)> interrupt_at;
  std::chrono::milliseconds checkpoint_every{10'000};
  std::stop_token stop;

  OnHostLine on_line;
  std::function<void(const Transition&)> entered;
  std::function<void(std::string_view channel, const StagedData&)> staging;
  std::function<void(std::string_view)> note;  // for people

  // A bucket's part, mounted read-only on a folder. Null: FastFile is refused.
  std::function<Result<Mount>(const std::string& uri, const std::filesystem::path& folder)> mount;
  // For tests, in place of storage's.
  std::function<Result<std::unique_ptr<storage::ObjectStore>>(const std::string& uri)> open_store;
};

// Runs the job to its end and gives what became of it: Completed, Failed or Stopped. An Error instead where it could not even
// start: kConflict: a job is there already, or runs; those of the file system.
Result<JobRecord> run_locally(const LocalRunOptions& options);

}  // namespace atl::sagemaker
