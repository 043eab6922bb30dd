// What a sample of a batch is to be, from the annotations alone, and its targets. Private to this
// room; its pixels are sample_reader.h's.
#pragma once

#include "dataset/loader.h"

namespace atl::dataset {

// Everything of a sample that is known before its file is read.
Sample plan_sample(const CocoDataset& dataset,
                   int64_t image_index,
                   int64_t epoch,
                   const LoaderOptions& options);

// Boxes, labels and masks, scaled and flipped as the sample is.
void add_targets(const CocoDataset& dataset, Sample& sample);

}  // namespace atl::dataset
