// What a dataset holds, in numbers. From the records alone: no picture is opened.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "dataset/coco.h"

namespace atl::dataset {

// The least, the middle one (of an even number: the lower) and the largest of some values; 0 of
// none.
struct Range {
  double min = 0;
  double median = 0;
  double max = 0;
  double mean = 0;
};

struct ClassStats {
  Category category;
  int64_t objects = 0;  // without crowds
  int64_t crowds = 0;
  int64_t images = 0;  // in which it occurs, crowds included
};

struct DatasetStats {
  int64_t images = 0;
  int64_t objects = 0;  // without crowds
  int64_t crowds = 0;
  int64_t empty_images = 0;  // neither objects nor crowds
  int64_t with_polygons = 0;
  int64_t with_rle = 0;
  int64_t without_mask = 0;
  // COCO's: area below 32², below 96², and above. Objects without crowds.
  int64_t small = 0;
  int64_t medium = 0;
  int64_t large = 0;
  int64_t landscape = 0;  // wider than high
  int64_t portrait = 0;
  int64_t square = 0;
  Range width_px;
  Range height_px;
  Range objects_per_image;
  Range object_area_px;
  Range object_aspect;              // width / height of the boxes that have both
  std::vector<ClassStats> classes;  // by category id
};

DatasetStats dataset_stats(const CocoDataset& dataset);

std::string stats_table(const DatasetStats& stats);
std::string stats_json(const DatasetStats& stats);

}  // namespace atl::dataset
