// What the contract comes down to: the command that every rank runs, and what becomes of its output.
//
// A training writes to checkpoints/HOST/run, where HOST is the first of the job's hosts, the only one that
// writes (rank 0, and its other ranks their shards of checkpoints). SageMaker keeps all hosts' checkpoints under one prefix, so a name for the host keeps them apart; after an
// interruption it restores that prefix everywhere, and the run goes on. With the hyperparameter out (or model_dir) of
// s3:// the run lies there instead.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "sagemaker/channels.h"

namespace atl::sagemaker {

struct Plan {
  std::vector<std::string> arguments;  // of atoll: {"train", "--set", "data.path=…", …}
  std::string run;                     // the run's output; "" for an evaluation
  std::vector<std::string> lines;      // for people: what was understood
};

// Where the run lies.
std::string run_folder(const Contract& contract, const Settings& settings);

// `channels`: those of the contract as folders. Errors: see find_data() and find_weights().
Result<Plan> plan_job(const Contract& contract,
                      Settings settings,
                      const std::vector<ChannelFolder>& channels);

// Elastic Fabric Adapter, where the hardware is there: variables of libfabric (NAME=VALUE) for the ranks, less those that
// are set already. `device_directory`: /dev/infiniband.
std::vector<std::string> efa_variables(const std::vector<std::string>& environment,
                                       const std::string& device_directory);

}  // namespace atl::sagemaker
