// What must hold of an index file's arrays before anything uses them: nothing in the file is
// trusted. For dataset/index.cpp.
#pragma once

#include <span>
#include <string_view>

#include "base/error.h"
#include "dataset/coco.h"
#include "dataset/tfrecord_table.h"

namespace atl::dataset::internal {

// kCorrupt, with what to do.
tl::unexpected<Error> corrupt_index(std::string_view what);

// Everything that the functions of CocoDataset and of rle.h rely on. Categories are sorted by id.
Result<void> check_arrays(const CocoArrays& arrays, std::span<const Category> categories);
// Everything that TfrecordStore relies on but what depends on the shards: that they are so many and so long.
Result<void> check_table(const RecordTable& table, const ImageList& images);

}  // namespace atl::dataset::internal
