// Parts of masks, and masks without parts: what cropping and pasting do to runs.
#include <algorithm>

#include "base/check.h"
#include "dataset/rle.h"
#include "dataset/rle_runs.h"

namespace atl::dataset {

using internal::ColumnRun;
using internal::ForegroundRuns;
using internal::RunWriter;

Rle rle_subtract(const Rle& a, const Rle& b) {
  ATOLL_CHECK(a.height == b.height && a.width == b.width)
      << a.width << "x" << a.height << " without " << b.width << "x" << b.height;
  Rle result{a.height, a.width, {}};
  RunWriter writer(result.counts);
  ForegroundRuns hole(b);
  for (ForegroundRuns run(a); !run.done(); run.next()) {
    uint64_t begin = run.begin();
    while (!hole.done() && hole.end() <= begin) hole.next();
    // The last hole may reach into the next run, so it stays.
    while (!hole.done() && hole.begin() < run.end()) {
      if (hole.begin() > begin) writer.foreground(begin, hole.begin());
      begin = std::min(hole.end(), run.end());
      if (hole.end() >= run.end()) break;
      hole.next();
    }
    writer.foreground(begin, run.end());
  }
  writer.finish(uint64_t{a.height} * a.width);
  return result;
}

Rle rle_resize(const Rle& rle, uint32_t height, uint32_t width) {
  return rle_resize(rle, height, width, {0, 0, width, height});
}

Rle rle_resize(const Rle& rle, uint32_t height, uint32_t width, const RleWindow& window) {
  ATOLL_CHECK(rle_size_fits(height, width) && rle_size_fits(window.height, window.width))
      << height << " x " << width << ", its part of " << window.height << " x " << window.width;
  Rle result{window.height, window.width, {}};
  const std::vector<ColumnRun> runs = internal::split_by_column(rle);
  RunWriter writer(result.counts);
  // Target row y lies in source rows [begin, end) when floor(y * h / H) does, that is, when y is in
  // [ceil(begin * H / h), ceil(end * H / h)); of that, the window's part.
  const auto row_in_window = [&](uint32_t row) {
    const uint64_t y = (uint64_t{row} * height + rle.height - 1) / rle.height;
    return static_cast<uint64_t>(
        std::clamp(static_cast<int64_t>(y) - window.top, int64_t{0}, int64_t{window.height}));
  };
  const int64_t first = std::max(window.left, int64_t{0});
  const int64_t end = std::min(window.left + int64_t{window.width}, int64_t{width});
  size_t at = 0;
  for (int64_t x = first; x < end && !runs.empty(); ++x) {
    const auto source = static_cast<uint64_t>(x) * rle.width / width;
    while (at < runs.size() && runs[at].column < source) ++at;
    const auto offset = static_cast<uint64_t>(x - window.left) * window.height;
    for (size_t i = at; i < runs.size() && runs[i].column == source; ++i) {
      writer.foreground(offset + row_in_window(runs[i].begin), offset + row_in_window(runs[i].end));
    }
  }
  writer.finish(uint64_t{window.height} * window.width);
  return result;
}

Rle rle_crop(const Rle& rle, const RleWindow& window) {
  return rle_resize(rle, rle.height, rle.width, window);
}

}  // namespace atl::dataset
