// Progress of the jobs of `atoll fs`, as the other commands' is.
#pragma once

#include <chrono>

#include "cli/progress_bar.h"
#include "fs/file_layer.h"

namespace atl::cli {

class FsProgress {
 public:
  explicit FsProgress(const char* phase)
      : phase_(phase), bar_(ProgressBar::on_standard_streams()) {}

  // In bytes where there are any, in files else.
  void update(const fs::Progress& progress);
  void finish() { bar_.finish(); }

 private:
  const char* phase_;
  ProgressBar bar_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace atl::cli
