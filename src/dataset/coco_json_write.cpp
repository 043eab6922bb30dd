// COCO JSON out.
#include <fmt/format.h>

#include <iterator>

#include "dataset/coco_builder.h"

namespace atl::dataset {
namespace {

void append_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_segmentation(std::string& out, const CocoDataset& data, const Annotation& annotation) {
  if (annotation.kind == SegmentationKind::kRle) {
    const Rle rle = data.rle(annotation.first_part);
    fmt::format_to(std::back_inserter(out), R"({{"size":[{},{}],"counts":)", rle.height, rle.width);
    if (annotation.crowd) {
      fmt::format_to(std::back_inserter(out), "[{}]", fmt::join(rle.counts, ","));
    } else {
      append_string(out, rle_to_string(rle));
    }
    out += '}';
    return;
  }
  out += '[';
  for (uint32_t part = 0; part < annotation.part_count; ++part) {
    fmt::format_to(std::back_inserter(out),
                   "{}[{}]",
                   part == 0 ? "" : ",",
                   fmt::join(data.polygon(annotation.first_part + part), ","));
  }
  out += ']';
}

}  // namespace

std::string to_json(const CocoDataset& dataset) {
  std::string out = R"({"info":{"description":"written by atoll"},"licenses":[],"categories":[)";
  const char* comma = "";
  for (const Category& category : dataset.categories()) {
    fmt::format_to(std::back_inserter(out), R"({}{{"id":{},"name":)", comma, category.id);
    append_string(out, category.name);
    out += R"(,"supercategory":)";
    append_string(out, category.supercategory);
    out += '}';
    comma = ",\n";
  }
  out += "],\n\"images\":[";
  comma = "";
  for (const Image& image : dataset.images()) {
    fmt::format_to(std::back_inserter(out),
                   R"({}{{"id":{},"width":{},"height":{},"file_name":)",
                   comma,
                   image.id,
                   image.width,
                   image.height);
    append_string(out, image.file_name);
    out += '}';
    comma = ",\n";
  }
  out += "],\n\"annotations\":[";
  comma = "";
  for (const Annotation& annotation : dataset.annotations()) {
    const int64_t image_id = dataset.images()[static_cast<size_t>(annotation.image_index)].id;
    fmt::format_to(
        std::back_inserter(out),
        R"({}{{"id":{},"image_id":{},"category_id":{},"iscrowd":{},"area":{},"bbox":[{}],"segmentation":)",
        comma,
        annotation.id,
        image_id,
        annotation.category_id,
        annotation.crowd ? 1 : 0,
        annotation.area,
        fmt::join(annotation.box, ","));
    append_segmentation(out, dataset, annotation);
    out += '}';
    comma = ",\n";
  }
  out += "]}\n";
  return out;
}

}  // namespace atl::dataset
