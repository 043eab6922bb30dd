// job.toml: whatever is taken can be checked and rendered, and what passes the checks names a job that can be a folder.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "aws/ids.h"
#include "base/check.h"
#include "sagemaker/job_file.h"
#include "sagemaker/request.h"
#include "sagemaker/validation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atl::sagemaker;
  const auto job =
      parse_job_file(std::string_view(reinterpret_cast<const char*>(data), size), "job.toml");
  if (!job) {
    ATOLL_CHECK(job.error().message.starts_with("job.toml"));
    return 0;
  }
  const Problems local = problems_of_local_run(*job);
  ATOLL_CHECK(!local.empty() || atl::aws::is_training_job_name(job->name));
  const bool is_good = problems_of_request(*job).empty();
  const auto request = training_job_request(*job, {});
  ATOLL_CHECK(!is_good || request.at("TrainingJobName") == job->name);
  return 0;
}
