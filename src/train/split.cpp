#include "train/split.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "dataset/coco_builder.h"

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
  for (const auto& image : images) {
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
          record.coordinates.insert(record.coordinates.end(), polygon.begin(), polygon.end());
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
  for (const auto& image : dataset.images()) {
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

Result<Split> open_split(const SplitOptions& options) {
  if (options.path.empty()) {
    return fail(ErrorCode::kInvalidInput, "no dataset is named", "give --data DIR");
  }
  Split split;
  split.store = ATOLL_TRY(storage::open_store(options.path));
  const auto location = ATOLL_TRY(locate(*split.store, options));
  split.annotations = location.annotations;
  split.note = location.note;
  const auto blob =
      ATOLL_TRY_CONTEXT(split.store->get(location.annotations), "reading annotations");
  split.dataset = ATOLL_TRY(dataset::CocoDataset::parse(blob.text(), split.name()));
  if (options.limit_images > 0) {
    split.dataset = ATOLL_TRY(first_images(split.dataset, options.limit_images));
  }
  split.image_prefix = ATOLL_TRY(image_prefix(*split.store, options, location, split.dataset));
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

Result<void> check_categories(const model::CategoryMap& model,
                              const Split& split,
                              std::string_view model_name) {
  const auto data = categories_of(split.dataset);
  if (data == model) return {};
  return fail(ErrorCode::kInvalidInput,
              fmt::format("{} and {} have different categories: {} against {}",
                          model_name,
                          split.name(),
                          list_categories(model),
                          list_categories(data)),
              "ids and names must be the same");
}

}  // namespace atl::train
