// What every command takes that may be given s3://… : where the bucket is, who asks, and where its blocks are
// kept. The options are the environment variables of the AWS command line and of storage/environment.h in
// other words; they are set as soon as they are read, before anything is opened, so they hold for
// bin/atoll-engine, too, which bin/atoll becomes.
#pragma once

#include <CLI/CLI.hpp>

namespace atl::cli {

// To all commands below `app` that have none below themselves.
void add_bucket_options(CLI::App& app);

}  // namespace atl::cli
