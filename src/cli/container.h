// Atoll as a SageMaker training container: what `train` does when it is started alone. Reads the contract
// (sagemaker/contract.h), starts the ranks of this host as `atoll launch` does, and leaves the model, the results or
// the reason of a failure where SageMaker looks for them. docs/sagemaker.md.
#pragma once

#include "base/error.h"

namespace atl::cli {

// By its name, a link called "train" without arguments, or as `atoll train` without arguments where a training job's
// files are. Anything else is a command like on any other machine.
bool is_container_start(int argc, const char* const* argv);

// Whether the program was called by that link.
bool is_called_train(const char* program);

// The exit code: 0 completed; 143 or 130 stopped by a signal, after a checkpoint; that of the first rank that failed.
Result<int> run_container();

}  // namespace atl::cli
