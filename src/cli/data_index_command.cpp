// atoll data index: a binary index of the annotations, which opens in milliseconds and which all
// processes of a machine share.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "cli/command.h"
#include "cli/data_splits.h"
#include "cli/progress_bar.h"
#include "dataset/index.h"

namespace atl::cli {
namespace {

constexpr const char* kFooter =
    "The commands train, eval, data stats and data preview use an index by themselves: the one\n"
    "beside the JSON (FILE.json.atoll-index) as long as it belongs to the JSON, or, for a large\n"
    "JSON without one, an index in ~/.cache/atoll (or $XDG_CACHE_HOME/atoll) that they make the\n"
    "first time. The others read the JSON.\n"
    "Without --annotations both splits are indexed. --out names a file, or a folder that serves "
    "as\n"
    "such a cache. An index that is whole and up to date is left as it is.\n"
    "\n"
    "Examples:\n"
    "  atoll data index --data coco\n"
    "  atoll data index --data coco --annotations annotations/instances_val2017.json\n"
    "  atoll data index --data /mnt/readonly/coco --out ~/.cache/atoll";

struct IndexOptions {
  std::string data;
  std::string annotations;
  std::string out;
  int threads = 0;
};

// Where the index of this JSON goes, and how that is called for people.
struct Target {
  storage::ObjectStore* store;
  std::unique_ptr<storage::ObjectStore> own;
  std::string key;
};

Result<Target> target_of(storage::ObjectStore& data,
                         const std::string& annotations,
                         const std::string& out) {
  if (out.empty()) {
    return Target{&data, nullptr, fmt::format("{}{}", annotations, dataset::kIndexSuffix)};
  }
  Target target;
  if (out.ends_with(dataset::kIndexSuffix)) {
    auto location = ATOLL_TRY(storage::open_location(out));
    target.own = std::move(location.store);
    target.key = std::move(location.key);
  } else {
    target.own = ATOLL_TRY(storage::open_store(out, true));
    const auto json = ATOLL_TRY_CONTEXT(data.head(annotations), "reading annotations");
    target.key = dataset::cached_index_key(data, json);
  }
  target.store = target.own.get();
  return target;
}

Result<int> run_index(const IndexOptions& options) {
  const auto store = ATOLL_TRY(storage::open_store(options.data));
  const auto splits = ATOLL_TRY(chosen_splits(*store, options.annotations));
  if (splits.size() > 1 && options.out.ends_with(dataset::kIndexSuffix)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("--out {} is one file, but there are two splits", options.out),
                "name the split with --annotations, or a folder with --out");
  }
  for (const auto& split : splits) {
    const Target target = ATOLL_TRY(target_of(*store, split.annotations, options.out));
    ProgressBar bar = ProgressBar::on_standard_streams();
    dataset::IndexBuildOptions build;
    build.threads = options.threads;
    build.progress = [&](uint64_t done, uint64_t total) {
      bar.update({.phase = "index, MB read",
                  .done = static_cast<int64_t>(done / 1'000'000),
                  .total = static_cast<int64_t>(total / 1'000'000)});
    };
    const auto built = ATOLL_TRY(
        dataset::build_index(*store, split.annotations, *target.store, target.key, build));
    bar.finish();
    const std::string name = fmt::format("{}/{}", target.store->uri(), target.key);
    const std::string what = fmt::format("{} images, {} annotations, {} of JSON in {}",
                                         built.images,
                                         built.annotations,
                                         format_bytes(built.json_bytes),
                                         format_bytes(built.index_bytes));
    if (built.was_valid) {
      fmt::print("{} is whole and up to date: {}\n", name, what);
    } else {
      fmt::print("{}: {}; read in {}, written in {}\n",
                 name,
                 what,
                 format_duration(built.read_time),
                 format_duration(built.write_time));
    }
  }
  return 0;
}

}  // namespace

void add_data_index(CLI::App& data, CommandContext& context) {
  const auto options = std::make_shared<IndexOptions>();
  CLI::App* command = data.add_subcommand("index", "Index annotations, so that opening is instant");
  command->add_option("--data", options->data, "Dataset's directory")->required()->type_name("DIR");
  command
      ->add_option("--annotations",
                   options->annotations,
                   "JSON below the dataset's directory, where the layout is another one")
      ->type_name("FILE");
  command
      ->add_option("--out",
                   options->out,
                   "Index to write (FILE.atoll-index), or a folder; without it beside the JSON")
      ->type_name("FILE|DIR");
  command->add_option("--threads", options->threads, "Threads; 0: one for each processor")
      ->type_name("N")
      ->check(whole_number());
  command->footer(kFooter);
  context.on_run(command, [options] { return run_index(*options); });
}

}  // namespace atl::cli
