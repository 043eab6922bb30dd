#include "train/split.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/parallel.h"
#include "dataset/coco_builder.h"
#include "dataset/index.h"
#include "dataset/tfrecord_dataset.h"
#include "dataset/tfrecord_shards.h"

namespace atl::train {
namespace {

constexpr size_t kProbedNames = 8;
constexpr size_t kListedCategories = 20;

Result<dataset::SplitLocation> locate(storage::ObjectStore& store, const SplitOptions& options) {
  if (options.annotations.empty()) return dataset::find_split(store, options.split);
  return dataset::SplitLocation{options.annotations, "", ""};
}

std::string as_prefix(std::string images) {
  if (!images.empty() && !images.ends_with('/')) images += '/';
  return images == "./" ? "" : images;
}

// A dataset of the first images only, so that evaluation, too, knows no others.
Result<dataset::CocoDataset> first_images(const dataset::CocoDataset& all, int64_t count) {
  dataset::CocoBuilder builder;
  for (const auto& category : all.categories()) ATOLL_TRY(builder.add_category(category));
  const auto images = all.images().first(std::min(all.images().size(), static_cast<size_t>(count)));
  for (const auto image : images) {
    ATOLL_TRY(
        builder.add_image({image.id, image.width, image.height, std::string(image.file_name)}));
  }
  for (size_t i = 0; i < images.size(); ++i) {
    for (const auto& source : all.annotations_of(i)) {
      dataset::AnnotationRecord record{.id = source.id,
                                       .image_id = images[i].id,
                                       .category_id = source.category_id,
                                       .crowd = source.crowd,
                                       .box = source.box,
                                       .area = source.area,
                                       .kind = source.kind};
      if (source.kind == dataset::SegmentationKind::kRle) record.rle = all.rle(source.first_part);
      if (source.kind == dataset::SegmentationKind::kPolygons) {
        for (uint32_t part = 0; part < source.part_count; ++part) {
          const auto polygon = all.polygon(source.first_part + part);
          polygon.append_to(record.coordinates);
          record.polygon_lengths.push_back(polygon.size());
        }
      }
      ATOLL_TRY(builder.add_annotation(record));
    }
  }
  return builder.finish();
}

Result<std::string> image_prefix(storage::ObjectStore& store,
                                 const SplitOptions& options,
                                 const dataset::SplitLocation& location,
                                 const dataset::CocoDataset& dataset) {
  if (!options.images.empty()) return as_prefix(options.images);
  if (options.annotations.empty()) return location.image_prefix;
  std::vector<std::string> names;
  for (const auto image : dataset.images()) {
    if (names.size() == kProbedNames) break;
    names.emplace_back(image.file_name);
  }
  return dataset::find_image_prefix(store, location.annotations, names, "");
}

std::string list_categories(const model::CategoryMap& map) {
  std::vector<std::string> entries;
  for (size_t i = 0; i < map.ids.size() && i < kListedCategories; ++i) {
    entries.push_back(fmt::format("{} {}", map.ids[i], map.names[i]));
  }
  std::string text = fmt::format("{}", fmt::join(entries, ", "));
  if (map.ids.size() > kListedCategories) {
    text += fmt::format(", … ({} in all)", map.ids.size());
  }
  return text;
}

}  // namespace

std::vector<dataset::ImageSize> Split::sizes() const {
  std::vector<dataset::ImageSize> sizes;
  sizes.reserve(images.size());
  for (const int64_t index : images) {
    const auto& image = dataset.images()[static_cast<size_t>(index)];
    sizes.push_back({image.width, image.height});
  }
  return sizes;
}

std::string Split::name() const { return fmt::format("{}/{}", store->uri(), annotations); }

namespace {

// The JSON, found or named, and the folder of its images.
Result<void> read_annotations(const SplitOptions& options, Split& split) {
  split.store = ATOLL_TRY(storage::open_store(options.path));
  const auto location = ATOLL_TRY(locate(*split.store, options));
  split.annotations = location.annotations;
  split.note = location.note;
  dataset::OpenAnnotationsOptions open;
  open.cache_folder = options.console.cache_folder;
  open.threads = options.threads;
  open.note = options.console.line;
  split.dataset = ATOLL_TRY(dataset::open_annotations(*split.store, location.annotations, open));
  split.image_prefix = ATOLL_TRY(image_prefix(*split.store, options, location, split.dataset));
  return {};
}

// The pass over all records of the split, or what an earlier one has kept.
Result<void> read_records(const SplitOptions& options, Split& split) {
  if (!options.images.empty()) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("{}: the pictures are in the records, not in {}", options.path, options.images),
        "name no directory for them");
  }
  const auto begin = std::chrono::steady_clock::now();
  dataset::TfrecordOptions records;
  records.split = options.split;
  records.pattern = options.annotations;
  records.threads = options.threads > 0 ? options.threads : available_cpus();
  records.max_bad_records = options.max_bad_records;
  records.bad_limit_name = options.bad_limit_name;
  records.stop = options.stop;
  records.cache_folder = options.console.cache_folder;
  records.note = options.console.line;
  records.progress = [&](uint64_t done_bytes, uint64_t total_bytes) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    const auto done = static_cast<double>(done_bytes);
    const auto left = static_cast<double>(total_bytes) - done;
    Progress progress{.phase = "records, MB"};
    progress.done = static_cast<int64_t>(done_bytes / 1'000'000);
    progress.total = static_cast<int64_t>(total_bytes / 1'000'000);
    if (done_bytes > 0) progress.seconds_left = spent.count() * left / done;
    if (options.console.progress && progress.total > 0) options.console.progress(progress);
  };
  auto opened = ATOLL_TRY(dataset::open_tfrecords(options.path, records));
  split.store = std::move(opened.store);
  split.annotations = std::move(opened.pattern);
  split.dataset = std::move(opened.dataset);
  split.bad_records = opened.bad_record_count;
  split.only_seen_categories = !opened.categories_are_listed;
  if (!options.console.line) return {};
  for (const auto& note : opened.notes) options.console.line(note);
  for (const auto& bad : opened.bad_records) {
    options.console.line(fmt::format("skipped: {}: {}", split.store->uri(), bad));
  }
  return {};
}

}  // namespace

Result<bool> has_split(const SplitOptions& options) {
  if (!options.annotations.empty()) return true;
  if (!dataset::is_tfrecord_uri(options.path)) {
    const auto store = ATOLL_TRY(storage::open_store(options.path));
    return ATOLL_TRY(dataset::find_annotations(*store, options.split)).has_value();
  }
  const auto uri = ATOLL_TRY(dataset::parse_tfrecord_uri(options.path));
  const auto store = ATOLL_TRY(storage::open_store(uri.directory));
  const auto found = dataset::find_tfrecord_shards(*store, uri.pattern, options.split);
  if (found) return true;
  if (found.error().code == ErrorCode::kNotFound) return false;
  return tl::unexpected(found.error());
}

Result<Split> open_split(const SplitOptions& options) {
  if (options.path.empty()) {
    return fail(ErrorCode::kInvalidInput, "no dataset is named", "give --data DIR");
  }
  Split split;
  if (dataset::is_tfrecord_uri(options.path)) {
    ATOLL_TRY(read_records(options, split));
  } else {
    ATOLL_TRY(read_annotations(options, split));
  }
  if (options.limit_images > 0) {
    split.dataset = ATOLL_TRY(first_images(split.dataset, options.limit_images));
  }
  if (split.dataset.categories().empty()) {
    return fail(ErrorCode::kInvalidInput, fmt::format("{}: no categories", split.name()));
  }
  for (size_t i = 0; i < split.dataset.images().size(); ++i) {
    const auto annotations = split.dataset.annotations_of(i);
    const bool object = std::ranges::any_of(annotations, [](const auto& a) { return !a.crowd; });
    if (object || options.keep_empty) split.images.push_back(static_cast<int64_t>(i));
  }
  if (split.images.empty()) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("{}: no images{}", split.name(), options.keep_empty ? "" : " with objects"),
        "check that it is the JSON that you mean; `atoll data stats` shows what is in it");
  }
  return split;
}

model::CategoryMap categories_of(const dataset::CocoDataset& dataset) {
  model::CategoryMap map;
  for (const auto& category : dataset.categories()) {
    map.ids.push_back(category.id);
    map.names.push_back(category.name);
  }
  return map;
}

namespace {

// The split's dataset with the model's categories, where its own are among them.
bool take_categories(const model::CategoryMap& model, Split& split) {
  std::vector<dataset::Category> categories;
  categories.reserve(model.ids.size());
  for (size_t i = 0; i < model.ids.size(); ++i) {
    categories.push_back({.id = model.ids[i], .name = model.names[i]});
  }
  std::ranges::sort(categories, {}, &dataset::Category::id);
  const auto twice = std::ranges::adjacent_find(categories, {}, &dataset::Category::id);
  if (twice != categories.end()) return false;
  for (const auto& own : split.dataset.categories()) {
    const auto same = [&](const auto& other) {
      return other.id == own.id && other.name == own.name;
    };
    if (std::ranges::none_of(categories, same)) return false;
  }
  split.dataset = split.dataset.with_categories(std::move(categories));
  return true;
}

}  // namespace

Result<void> check_categories(const model::CategoryMap& model,
                              Split& split,
                              std::string_view model_name) {
  const auto data = categories_of(split.dataset);
  if (data == model) return {};
  if (split.only_seen_categories && take_categories(model, split)) return {};
  return fail(ErrorCode::kInvalidInput,
              fmt::format("{} and {} have different categories: {} against {}",
                          model_name,
                          split.name(),
                          list_categories(model),
                          list_categories(data)),
              split.only_seen_categories
                  ? "put a label_map.pbtxt with all classes beside the records"
                  : "ids and names must be the same");
}

}  // namespace atl::train
