// A bucket as the commands of `atoll fs` open it: the connection, where its state lies, and the file
// layer over both.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "fs/file_layer.h"
#include "fs/mount_settings.h"
#include "storage/open_s3.h"

namespace atl::cli {

// The storage room's settings are in the environment; what a list of -o says goes before what is there. Names of
// files are made absolute, for a daemon's working directory is "/". Before any thread is started.
void tell_environment(const fs::MountSettings& settings);

// Without a request to the bucket.
Result<storage::Bucket> open_bucket(const std::string& uri, storage::BucketOptions options = {});

// Where journal, changed files and control socket of this bucket lie: what the settings say, else below
// /var/lib/atoll for root and below $XDG_STATE_HOME or ~/.local/state for others, by a name of its own for
// each bucket, prefix and endpoint. Not made yet.
Result<std::string> state_directory(const storage::Bucket& bucket,
                                    const fs::MountSettings& settings);

// Makes the directory, 0700, and opens the layer in it. kInvalidInput: a daemon has it open.
Result<std::unique_ptr<fs::FileLayer>> open_layer(const storage::Bucket& bucket,
                                                  const std::string& state_directory,
                                                  const fs::MountSettings& settings,
                                                  std::function<void(std::string_view)> log);

// 0700, with its parents. kPermission where it is another user's.
Result<void> make_private_directory(const std::string& directory);

}  // namespace atl::cli
