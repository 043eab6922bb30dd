// What is written down of the jobs of this machine: ROOT/job.json, and ROOT/output with the archives that are to be uploaded.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "sagemaker/life_cycle.h"
#include "storage/storage.h"

namespace atl::sagemaker {

// Where jobs of this machine are, each in a folder of its name, unless --jobs says where else.
constexpr const char* kJobsFolder = "runs/jobs";
// "atoll job VERB NAME" of the job in ROOT for a person to type, with --jobs where its folder is not the usual one.
std::string job_command(std::string_view verb, const std::filesystem::path& root);

struct LocalJob {
  JobRecord record;
  std::string process;  // who runs it (storage/cache/process_identity.h)
  std::string output;   // where the archives go; "": nowhere
  int hosts = 0;
};

Result<void> write_local_job(const std::filesystem::path& root, const LocalJob& job);
// As it is: a job whose process has died without a word is Failed. nullopt: there is none.
Result<std::optional<LocalJob>> read_local_job(const std::filesystem::path& root);
// Asks the process that runs it to stop, as Ctrl-C does. kNotFound: it does not run, or not on this machine.
Result<void> stop_local_job(const LocalJob& job);

using OpenStore =
    std::function<Result<std::unique_ptr<storage::ObjectStore>>(const std::string& uri)>;
// The archives in ROOT/output to OUTPUT/NAME/output/…, OUTPUT being the job's or, where a person has named another place, `to`;
// where the model is now, "" where there is none. An archive that is refused stays, and the hint says how to try again.
Result<std::string> upload_archives(const std::filesystem::path& root,
                                    const LocalJob& job,
                                    const OpenStore& open_store,
                                    const std::string& to = {});

}  // namespace atl::sagemaker
