#include "cli/fs_progress.h"

namespace atl::cli {

void FsProgress::update(const fs::Progress& progress) {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  // Of the bytes, where there are any: files differ in size.
  const auto share = [](uint64_t done, uint64_t all) {
    return all == 0 ? 0.0 : static_cast<double>(done) / static_cast<double>(all);
  };
  const double done = progress.bytes_in_all > 0 ? share(progress.bytes, progress.bytes_in_all)
                                                : share(progress.files, progress.files_in_all);
  train::Progress shown;
  shown.phase = phase_;
  shown.done = static_cast<int64_t>(progress.files);
  shown.total = static_cast<int64_t>(progress.files_in_all);
  shown.seconds_left = done > 0 ? elapsed.count() * (1 - done) / done : 0;
  bar_.update(shown);
}

}  // namespace atl::cli
