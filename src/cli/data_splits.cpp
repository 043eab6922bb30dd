#include "cli/data_splits.h"

namespace atl::cli {

using dataset::SplitLocation;

Result<std::vector<SplitLocation>> chosen_splits(storage::ObjectStore& store,
                                                 const std::string& annotations) {
  if (!annotations.empty()) return std::vector{SplitLocation{annotations, "", ""}};
  std::vector<SplitLocation> splits;
  for (const dataset::Split split : {dataset::Split::kTrain, dataset::Split::kVal}) {
    const auto found = ATOLL_TRY(dataset::find_annotations(store, split));
    if (!found) continue;
    if (splits.empty() || splits.front().annotations != found->annotations)
      splits.push_back(*found);
  }
  if (!splits.empty()) return splits;
  // Says what was looked for.
  return tl::unexpected(dataset::find_split(store, dataset::Split::kTrain).error());
}

}  // namespace atl::cli
