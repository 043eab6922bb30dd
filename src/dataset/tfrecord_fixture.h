// Small TFRecords for tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/image.h"
#include "dataset/tfrecord.h"
#include "dataset/tfrecord_example.h"

namespace atl::dataset {

// One image of 8 x 6 with an object of each label given.
struct MadeRecord {
  std::string source_id = "1";
  std::string file_name = "a.png";
  std::vector<int64_t> labels;
  std::vector<std::string_view> texts;

  std::string record() const {
    const auto png = encode_png({8, 6, std::vector<uint8_t>(size_t{8} * 6 * 3)}).value();
    TfExampleWriter writer;
    writer.add("image/encoded", {reinterpret_cast<const char*>(png.data()), png.size()});
    if (!file_name.empty()) writer.add("image/filename", file_name);
    if (!source_id.empty()) writer.add("image/source_id", source_id);
    writer.add("image/height", int64_t{6});
    writer.add("image/width", int64_t{8});
    const std::vector<float> low(labels.size(), 0.0F);
    const std::vector<float> high(labels.size(), 0.5F);
    writer.add_floats("image/object/bbox/xmin", low);
    writer.add_floats("image/object/bbox/ymin", low);
    writer.add_floats("image/object/bbox/xmax", high);
    writer.add_floats("image/object/bbox/ymax", high);
    writer.add_integers("image/object/class/label", labels);
    writer.add_bytes("image/object/class/text", texts);
    return frame_tfrecord(writer.finish());
  }
};

}  // namespace atl::dataset
