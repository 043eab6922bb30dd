#include "dataset/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

namespace atl::dataset {
namespace {

constexpr double kSmallArea_px = 32.0 * 32.0;
constexpr double kMediumArea_px = 96.0 * 96.0;

Range range_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {.min = values.front(),
          .median = values[(values.size() - 1) / 2],
          .max = values.back(),
          .mean = std::accumulate(values.begin(), values.end(), 0.0) /
                  static_cast<double>(values.size())};
}

void count_images(const CocoDataset& dataset, DatasetStats& stats) {
  std::vector<double> widths;
  std::vector<double> heights;
  std::vector<double> objects;
  for (size_t i = 0; i < dataset.images().size(); ++i) {
    const Image& image = dataset.images()[i];
    widths.push_back(image.width);
    heights.push_back(image.height);
    (image.width > image.height   ? stats.landscape
     : image.width < image.height ? stats.portrait
                                  : stats.square) += 1;
    const auto annotations = dataset.annotations_of(i);
    objects.push_back(static_cast<double>(std::count_if(
        annotations.begin(), annotations.end(), [](const Annotation& a) { return !a.crowd; })));
    if (annotations.empty()) ++stats.empty_images;
  }
  stats.images = static_cast<int64_t>(dataset.images().size());
  stats.width_px = range_of(std::move(widths));
  stats.height_px = range_of(std::move(heights));
  stats.objects_per_image = range_of(std::move(objects));
}

void count_objects(const CocoDataset& dataset, DatasetStats& stats) {
  std::vector<double> areas;
  std::vector<double> aspects;
  for (const Annotation& annotation : dataset.annotations()) {
    (annotation.kind == SegmentationKind::kPolygons ? stats.with_polygons
     : annotation.kind == SegmentationKind::kRle    ? stats.with_rle
                                                    : stats.without_mask) += 1;
    if (annotation.crowd) {
      ++stats.crowds;
      continue;
    }
    ++stats.objects;
    areas.push_back(annotation.area);
    (annotation.area < kSmallArea_px    ? stats.small
     : annotation.area < kMediumArea_px ? stats.medium
                                        : stats.large) += 1;
    if (annotation.box[2] > 0 && annotation.box[3] > 0) {
      aspects.push_back(annotation.box[2] / annotation.box[3]);
    }
  }
  stats.object_area_px = range_of(std::move(areas));
  stats.object_aspect = range_of(std::move(aspects));
}

void count_classes(const CocoDataset& dataset, DatasetStats& stats) {
  for (const Category& category : dataset.categories()) stats.classes.push_back({category});
  // The image in which each class was seen last: annotations stand grouped by image.
  std::vector<int32_t> last_image(stats.classes.size(), -1);
  for (const Annotation& annotation : dataset.annotations()) {
    const auto index = static_cast<size_t>(*dataset.label_of(annotation.category_id) - 1);
    ClassStats& of_class = stats.classes[index];
    ++(annotation.crowd ? of_class.crowds : of_class.objects);
    if (last_image[index] != annotation.image_index) ++of_class.images;
    last_image[index] = annotation.image_index;
  }
}

std::string percent(int64_t part, int64_t whole) {
  return whole == 0 ? "-"
                    : fmt::format("{:.1f} %",
                                  100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// Terminal columns, not bytes: continuation bytes of UTF-8 take none.
size_t columns(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

nlohmann::json json_of(const Range& range) {
  return {{"min", range.min}, {"median", range.median}, {"max", range.max}, {"mean", range.mean}};
}

}  // namespace

DatasetStats dataset_stats(const CocoDataset& dataset) {
  DatasetStats stats;
  count_images(dataset, stats);
  count_objects(dataset, stats);
  count_classes(dataset, stats);
  return stats;
}

std::string stats_table(const DatasetStats& stats) {
  std::string out;
  const auto line = [&](std::string_view name, const std::string& value) {
    fmt::format_to(std::back_inserter(out), "{:<20} {}\n", name, value);
  };
  const auto range = [](const Range& r, int digits) {
    return fmt::format("{:.{}f} to {:.{}f}, median {:.{}f}, mean {:.1f}",
                       r.min,
                       digits,
                       r.max,
                       digits,
                       r.median,
                       digits,
                       r.mean);
  };
  line("images", fmt::format("{} ({} without objects)", stats.images, stats.empty_images));
  line("  width px", range(stats.width_px, 0));
  line("  height px", range(stats.height_px, 0));
  line("  form",
       fmt::format(
           "{} landscape, {} portrait, {} square", stats.landscape, stats.portrait, stats.square));
  line("objects", fmt::format("{} and {} crowds", stats.objects, stats.crowds));
  line("  an image", range(stats.objects_per_image, 0));
  line("  masks",
       fmt::format("{} polygons, {} RLE, {} without a mask",
                   stats.with_polygons,
                   stats.with_rle,
                   stats.without_mask));
  line("  area px", range(stats.object_area_px, 0));
  line("  width / height", range(stats.object_aspect, 2));
  line("  small  (< 32² px)",
       fmt::format("{:>7}  {}", stats.small, percent(stats.small, stats.objects)));
  line("  medium", fmt::format("{:>7}  {}", stats.medium, percent(stats.medium, stats.objects)));
  line("  large  (≥ 96² px)",
       fmt::format("{:>7}  {}", stats.large, percent(stats.large, stats.objects)));

  size_t name_columns = 5;
  for (const ClassStats& of_class : stats.classes) {
    name_columns = std::max(name_columns, columns(of_class.category.name));
  }
  const auto padded = [&](const std::string& name) {
    return name + std::string(name_columns - columns(name), ' ');
  };
  fmt::format_to(std::back_inserter(out),
                 "\n{:>6}  {}  {:>8} {:>8} {:>7} {:>8}\n",
                 "id",
                 padded("class"),
                 "objects",
                 "share",
                 "crowds",
                 "images");
  for (const ClassStats& of_class : stats.classes) {
    fmt::format_to(std::back_inserter(out),
                   "{:>6}  {}  {:>8} {:>8} {:>7} {:>8}\n",
                   of_class.category.id,
                   padded(of_class.category.name),
                   of_class.objects,
                   percent(of_class.objects, stats.objects),
                   of_class.crowds,
                   of_class.images);
  }
  return out;
}

std::string stats_json(const DatasetStats& stats) {
  nlohmann::ordered_json classes = nlohmann::json::array();
  for (const ClassStats& of_class : stats.classes) {
    classes.push_back({{"id", of_class.category.id},
                       {"name", of_class.category.name},
                       {"supercategory", of_class.category.supercategory},
                       {"objects", of_class.objects},
                       {"crowds", of_class.crowds},
                       {"images", of_class.images}});
  }
  const nlohmann::ordered_json document = {{"images",
                                            {{"count", stats.images},
                                             {"empty", stats.empty_images},
                                             {"width_px", json_of(stats.width_px)},
                                             {"height_px", json_of(stats.height_px)},
                                             {"landscape", stats.landscape},
                                             {"portrait", stats.portrait},
                                             {"square", stats.square}}},
                                           {"objects",
                                            {{"count", stats.objects},
                                             {"crowds", stats.crowds},
                                             {"per_image", json_of(stats.objects_per_image)},
                                             {"with_polygons", stats.with_polygons},
                                             {"with_rle", stats.with_rle},
                                             {"without_mask", stats.without_mask},
                                             {"area_px", json_of(stats.object_area_px)},
                                             {"aspect", json_of(stats.object_aspect)},
                                             {"small", stats.small},
                                             {"medium", stats.medium},
                                             {"large", stats.large}}},
                                           {"classes", classes}};
  // A name that is no UTF-8 cannot come out of the reader, but a caller may have built one.
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace atl::dataset
