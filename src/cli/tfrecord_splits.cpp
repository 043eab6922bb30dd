#include "cli/tfrecord_splits.h"

#include <fmt/format.h>

#include <cstdio>
#include <optional>

#include "base/parallel.h"
#include "cli/progress_bar.h"
#include "dataset/tfrecord_shards.h"

namespace atl::cli {
namespace {

Result<dataset::TfrecordDataset> open(const TfrecordSplitOptions& options, dataset::Split split) {
  ProgressBar bar = ProgressBar::on_standard_streams();
  const auto begin = ProgressBar::Clock::now();
  dataset::TfrecordOptions open_options;
  open_options.split = split;
  open_options.pattern = options.pattern;
  open_options.only_named = true;
  open_options.threads = options.threads > 0 ? options.threads : available_cpus();
  open_options.max_bad_records = options.max_bad_records;
  open_options.bad_limit_name = options.bad_limit_name;
  open_options.stop = options.stop;
  open_options.cache_folder = options.cache_folder;
  open_options.note = [](const std::string& note) { fmt::print(stderr, "{}\n", note); };
  open_options.progress = [&](uint64_t done_bytes, uint64_t total_bytes) {
    const std::chrono::duration<double> spent = ProgressBar::Clock::now() - begin;
    train::Progress progress;
    progress.phase = "records, MB";
    progress.done = static_cast<int64_t>(done_bytes / 1'000'000);
    progress.total = static_cast<int64_t>(total_bytes / 1'000'000);
    if (done_bytes > 0) {
      progress.seconds_left = spent.count() * static_cast<double>(total_bytes - done_bytes) /
                              static_cast<double>(done_bytes);
    }
    // A small file is done before it is worth a line.
    if (progress.total > 0) bar.update(progress);
  };
  auto records = dataset::open_tfrecords(options.uri, open_options);
  bar.finish();
  if (!records) return records;
  for (const std::string& note : records->notes) fmt::print(stderr, "{}\n", note);
  for (const std::string& bad : records->bad_records) {
    fmt::print(stderr, "skipped: {}: {}\n", records->store->uri(), bad);
  }
  return records;
}

}  // namespace

Result<void> for_each_tfrecord_split(const TfrecordSplitOptions& options,
                                     const std::function<Result<void>(TfrecordSplit)>& visit) {
  std::optional<Error> missing;
  int found = 0;
  for (const dataset::Split split : {dataset::Split::kTrain, dataset::Split::kVal}) {
    auto records = open(options, split);
    if (!records) {
      if (records.error().code != ErrorCode::kNotFound) return tl::unexpected(records.error());
      if (!missing) missing = records.error();
      continue;
    }
    ++found;
    const bool both = records->serves_as_both || !options.pattern.empty();
    ATOLL_TRY(visit({split, both, *std::move(records)}));
    if (both) return {};
  }
  if (found > 0) return {};
  missing->code = ErrorCode::kInvalidInput;
  return tl::unexpected(std::move(*missing));
}

}  // namespace atl::cli
