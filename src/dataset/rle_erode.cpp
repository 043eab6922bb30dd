// Erosion of a run-length mask without a bitmap.
//
// A square is as wide as it is high, so the minimum over it is one down the columns followed by one
// along the rows. Down a column a run loses `radius` pixels at either end. Along the rows a column
// keeps what all its 2 * radius + 1 neighbours have: an intersection of short lists of runs, taken
// as van Herk takes a sliding minimum. Columns are cut into blocks as long as the window; a window
// is the tail of one block and the head of the next, and heads and tails are running intersections.
#include <algorithm>

#include "dataset/rle_runs.h"

namespace atl::dataset {
namespace {

using internal::ColumnRun;
using internal::RunWriter;

struct Span {
  uint32_t begin;
  uint32_t end;
};

// Lists of spans, one for each column, one after the other in the order in which they are made.
class SpanLists {
 public:
  explicit SpanLists(size_t columns) : places_(columns) {}

  size_t count(size_t column) const { return places_[column].count; }
  Span at(size_t column, size_t i) const { return spans_[places_[column].begin + i]; }
  // An unfinished list is that of the column opened last.
  void open(size_t column) { places_[column].begin = spans_.size(); }
  void add(size_t column, Span span) {
    spans_.push_back(span);
    ++places_[column].count;
  }

 private:
  struct Place {
    size_t begin = 0;
    size_t count = 0;
  };
  std::vector<Span> spans_;
  std::vector<Place> places_;
};

// visit(span) for each common span of a's list i and b's list j. The lists may grow meanwhile.
template <typename Visit>
void intersect(const SpanLists& a, size_t i, const SpanLists& b, size_t j, Visit&& visit) {
  for (size_t m = 0, n = 0; m < a.count(i) && n < b.count(j);) {
    const Span left = a.at(i, m);
    const Span right = b.at(j, n);
    const Span common{std::max(left.begin, right.begin), std::min(left.end, right.end)};
    if (common.begin < common.end) visit(common);
    ++(left.end < right.end ? m : n);
  }
}

// The spans of each column from `first` on, shorter by the radius at both ends.
SpanLists shrunk_columns(std::span<const ColumnRun> runs,
                         uint32_t first,
                         size_t columns,
                         uint32_t radius) {
  SpanLists lists(columns);
  for (size_t i = 0; i < runs.size();) {
    const uint32_t column = runs[i].column;
    lists.open(column - first);
    while (i < runs.size() && runs[i].column == column) {
      const uint32_t begin = runs[i].begin;
      uint32_t end = runs[i].end;
      // Masks from outside may have two runs that touch.
      for (++i; i < runs.size() && runs[i].column == column && runs[i].begin == end; ++i) {
        end = runs[i].end;
      }
      if (end - begin > 2 * uint64_t{radius}) {
        lists.add(column - first, {begin + radius, end - radius});
      }
    }
  }
  return lists;
}

// For each column the intersection of the columns from the begin of its block to it (heads), or from
// it to the block's end (tails).
SpanLists running_intersections(const SpanLists& lists, size_t columns, size_t block, bool heads) {
  SpanLists result(columns);
  for (size_t step = 0; step < columns; ++step) {
    const size_t i = heads ? step : columns - 1 - step;
    const bool opens = heads ? i % block == 0 : (i + 1) % block == 0 || step == 0;
    result.open(i);
    const auto add = [&](Span span) { result.add(i, span); };
    if (opens) {
      intersect(lists, i, lists, i, add);
    } else {
      intersect(result, heads ? i - 1 : i + 1, lists, i, add);
    }
  }
  return result;
}

}  // namespace

Rle rle_erode(const Rle& rle, uint32_t radius_px) {
  Rle result{rle.height, rle.width, {}};
  RunWriter writer(result.counts);
  const std::vector<ColumnRun> runs = internal::split_by_column(rle);
  const uint64_t window = 2 * uint64_t{radius_px} + 1;
  const uint32_t first = runs.empty() ? 0 : runs.front().column;
  const size_t columns = runs.empty() ? 0 : size_t{runs.back().column} - first + 1;
  if (columns >= window) {
    const SpanLists shrunk = shrunk_columns(runs, first, columns, radius_px);
    const SpanLists heads = running_intersections(shrunk, columns, window, true);
    const SpanLists tails = running_intersections(shrunk, columns, window, false);
    for (size_t begin = 0; begin + window <= columns; ++begin) {
      const uint64_t offset = (first + begin + radius_px) * uint64_t{rle.height};
      intersect(tails, begin, heads, begin + window - 1, [&](Span span) {
        writer.foreground(offset + span.begin, offset + span.end);
      });
    }
  }
  writer.finish(uint64_t{rle.height} * rle.width);
  return result;
}

}  // namespace atl::dataset
