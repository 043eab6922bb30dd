// The options that say how a bucket is reached and mounted: as --flags of a command, and as one -o list.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "fs/mount_settings.h"

namespace atl::cli {

class FsOptions {
 public:
  // All of them, and -o.
  static std::shared_ptr<FsOptions> add_all(CLI::App* command);
  // Those that a command needs which only finds and opens a bucket.
  static std::shared_ptr<FsOptions> add_opening(CLI::App* command);

  // Directories and files made absolute, for a daemon's working directory is "/". Options that are not known
  // count only where not `sloppy`.
  Result<fs::MountSettings> settings(bool sloppy = false) const;

 private:
  void add(CLI::App* command, const fs::MountOption& option);

  std::vector<std::string> given_;  // "key=value", in order
  std::vector<std::string> lists_;  // of -o
};

}  // namespace atl::cli
