// The bar for a job that goes through images and knows no more than how many are done.
#pragma once

#include <chrono>
#include <cstdint>

#include "cli/progress_bar.h"

namespace atl::cli {

class ImageProgress {
 public:
  explicit ImageProgress(const char* phase)
      : phase_(phase),
        begin_(ProgressBar::Clock::now()),
        bar_(ProgressBar::on_standard_streams()) {}

  void update(int64_t done, int64_t total) {
    const double seconds = elapsed().count();
    const double images_per_s = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    train::Progress progress;
    progress.phase = phase_;
    progress.done = done;
    progress.total = total;
    progress.images_per_s = images_per_s;
    progress.seconds_left = images_per_s > 0 ? static_cast<double>(total - done) / images_per_s : 0;
    bar_.update(progress);
  }
  void finish() { bar_.finish(); }
  std::chrono::duration<double> elapsed() const { return ProgressBar::Clock::now() - begin_; }

 private:
  const char* phase_;
  ProgressBar::Clock::time_point begin_;
  ProgressBar bar_;
};

}  // namespace atl::cli
