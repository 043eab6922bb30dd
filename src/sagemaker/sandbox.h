// The folders of a job that runs on this machine.
//
//   ROOT/job.json                  the job so far, as DescribeTrainingJob would answer
//   ROOT/channels/NAME             what a channel's data were staged to; the hosts' folders are links to it
//   ROOT/algo-1/opt/ml/            what SageMaker gives a container: input/config/*.json, input/data/CHANNEL, model,
//                                  output/data, checkpoints
//   ROOT/logs/algo-1.log           what the host has written
//   ROOT/output/model.tar.gz       and output.tar.gz, before they are uploaded
//
// The hosts are called 127.0.0.1, 127.0.0.2 … in resourceconfig.json: nobody resolves algo-1 on one machine, and every
// loopback address is this machine's.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "sagemaker/job_file.h"

namespace atl::sagemaker {

struct SandboxHost {
  std::string name;          // "algo-1"
  std::string address;       // "127.0.0.1"
  std::filesystem::path ml;  // ROOT/algo-1/opt/ml
};

struct Sandbox {
  std::filesystem::path root;  // absolute
  std::vector<SandboxHost> hosts;

  // Names only; nothing is made yet.
  static Sandbox at(const std::filesystem::path& root, size_t hosts);

  std::filesystem::path channel(std::string_view name) const { return root / "channels" / name; }
  std::filesystem::path shard(std::string_view name, size_t host) const;
  std::filesystem::path log(size_t host) const;
  std::filesystem::path output() const { return root / "output"; }
};

// Takes away what an earlier job has left there, and makes the folders that are not a host's.
Result<void> empty_sandbox(const Sandbox& sandbox);

// Empties a host's /opt/ml, as a new instance has it, and writes its configuration.
Result<void> make_host(const Sandbox& sandbox, size_t host, const JobFile& job);

// Its folder of checkpoints: checkpoints.path, which must be below /opt/ml, in the sandbox.
std::filesystem::path checkpoint_folder(const SandboxHost& host, const JobFile& job);

// What a host's program finds in its environment, NAME=VALUE: as in a container not all of ours, but what the programs and
// libraries need (PATH, HOME, AWS_*, ATOLL_*, CUDA_*, …), the platform's, the job's own, and ATOLL_SAGEMAKER_ROOT.
std::vector<std::string> host_environment(const std::vector<std::string>& inherited,
                                          const JobFile& job,
                                          const SandboxHost& host,
                                          const std::string& region,
                                          const std::string& arn);

// CUDA_VISIBLE_DEVICES of one of several hosts: its part of ours, or of the GPUs 0 … accelerators - 1. Two hosts with the same
// GPU would be one too many for NCCL. Where there are too few for all, none gets one: they compute on processors.
void share_accelerators(std::vector<std::string>& environment,
                        int accelerators,
                        size_t hosts,
                        size_t host);

// arn:aws:sagemaker:REGION:000000000000:training-job/NAME: of no account.
std::string local_arn(const std::string& region, const std::string& name);

}  // namespace atl::sagemaker
