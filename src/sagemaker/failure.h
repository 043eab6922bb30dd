// What a failed job leaves in output/failure: SageMaker shows its first 1,024 characters as the job's FailureReason.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sagemaker/contract.h"

namespace atl::sagemaker {

constexpr size_t kMaxFailureBytes = 1024;  // no more characters than bytes

// At most kMaxFailureBytes of whole UTF-8 characters on one line; what is none is replaced. Of a longer text the middle is
// left out, for its end says what to do.
std::string failure_text(std::string_view message);

// What a failed rank said: the last of its lines that begins with "atoll: ", else the last line at all and how it ended.
// `lines`: the end of its standard error. `how_it_ended`: "rank 1 on algo-2 was killed by signal 9".
std::string message_of_rank(const std::vector<std::string>& lines, std::string_view how_it_ended);

Result<void> write_failure(const Paths& paths, std::string_view message);

}  // namespace atl::sagemaker
