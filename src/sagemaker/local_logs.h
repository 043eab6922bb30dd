// What the hosts of a job of this machine have written: ROOT/logs/algo-1.log and so on.
#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>

#include "base/error.h"
#include "sagemaker/training_jobs.h"

namespace atl::sagemaker {

// As read_logs(), of one host after the other: a file has no times to merge by. Whoever follows gets each host's whole lines
// as they come. LogLine::host is "" where the job has a single one. kNotFound: there is no job. kCancelled: told to stop.
Result<void> read_local_logs(const std::filesystem::path& root,
                             const Following& following,
                             const std::function<void(const LogLine&)>& line,
                             const std::stop_token& stop);

}  // namespace atl::sagemaker
