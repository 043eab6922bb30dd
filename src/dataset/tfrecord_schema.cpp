#include "dataset/tfrecord_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "dataset/image.h"
#include "dataset/tfrecord_mask.h"
#include "storage/sha256.h"

namespace atl::dataset {
namespace {

using Kind = TfFeature::Kind;

constexpr std::string_view kEncoded = "image/encoded";
constexpr std::string_view kFormat = "image/format";
constexpr std::string_view kFileName = "image/filename";
constexpr std::string_view kSourceId = "image/source_id";
constexpr std::string_view kSha256 = "image/key/sha256";
constexpr std::string_view kHeight = "image/height";
constexpr std::string_view kWidth = "image/width";
constexpr std::string_view kXmin = "image/object/bbox/xmin";
constexpr std::string_view kXmax = "image/object/bbox/xmax";
constexpr std::string_view kYmin = "image/object/bbox/ymin";
constexpr std::string_view kYmax = "image/object/bbox/ymax";
constexpr std::string_view kText = "image/object/class/text";
constexpr std::string_view kLabel = "image/object/class/label";
constexpr std::string_view kCrowd = "image/object/is_crowd";
constexpr std::string_view kArea = "image/object/area";
constexpr std::string_view kMask = "image/object/mask";

tl::unexpected<Error> bad(std::string message, std::string hint = {}) {
  return fail(ErrorCode::kInvalidInput, std::move(message), std::move(hint));
}

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "nothing";
    case Kind::kBytes:
      return "bytes";
    case Kind::kFloats:
      return "floats";
    case Kind::kIntegers:
      return "integers";
  }
  return "";
}

// Reads the features of one record. A list that is empty counts as one that is not there, for
// writers leave out or write empty lists as they like.
class ImageReader {
 public:
  ImageReader(const TfExample& example, const LabelMap* labels)
      : example_(example), labels_(labels) {}

  Result<TfrecordImage> read() {
    image_.encoded = ATOLL_TRY(text(kEncoded));
    if (image_.encoded.empty()) return bad(fmt::format("no {}", kEncoded));
    image_.file_name = ATOLL_TRY(text(kFileName));
    image_.source_id = ATOLL_TRY(text(kSourceId));
    ATOLL_TRY(read_size());
    ATOLL_TRY(read_objects());
    ATOLL_TRY(check());
    return std::move(image_);
  }

 private:
  // nullptr where it is not there or empty.
  Result<const TfFeature*> feature(std::string_view name, Kind kind) const {
    const TfFeature* found = example_.find(name);
    if (found == nullptr || found->size() == 0) return nullptr;
    if (found->kind != kind) {
      return bad(fmt::format("{} is {}; expected {}", name, name_of(found->kind), name_of(kind)));
    }
    return found;
  }

  Result<const TfFeature*> scalar(std::string_view name, Kind kind) const {
    const TfFeature* found = ATOLL_TRY(feature(name, kind));
    if (found != nullptr && found->size() != 1) {
      return bad(fmt::format("{} has {} values; expected one", name, found->size()));
    }
    return found;
  }

  Result<std::string_view> text(std::string_view name) const {
    const TfFeature* found = ATOLL_TRY(scalar(name, Kind::kBytes));
    return found == nullptr ? std::string_view() : found->bytes.front();
  }

  Result<void> read_size() {
    const TfFeature* height = ATOLL_TRY(scalar(kHeight, Kind::kIntegers));
    const TfFeature* width = ATOLL_TRY(scalar(kWidth, Kind::kIntegers));
    if (height != nullptr && width != nullptr) {
      image_.height = height->integers.front();
      image_.width = width->integers.front();
      return {};
    }
    const auto header =
        ATOLL_TRY_CONTEXT(read_image_header(std::as_bytes(std::span(image_.encoded))), kEncoded);
    image_.height = header.stored.height;
    image_.width = header.stored.width;
    return {};
  }

  // A list with one value for each object; all have the length of the first that is there.
  Result<const TfFeature*> objects(std::string_view name, Kind kind) {
    const TfFeature* found = ATOLL_TRY(feature(name, kind));
    if (found == nullptr) return nullptr;
    if (counted_by_.empty()) {
      counted_by_ = name;
      image_.objects.resize(found->size());
    } else if (found->size() != image_.objects.size()) {
      return bad(fmt::format("{} has {} values, {} has {}: expected one for each object",
                             name,
                             found->size(),
                             counted_by_,
                             image_.objects.size()));
    }
    return found;
  }

  Result<void> read_objects() {
    const TfFeature* labels = ATOLL_TRY(objects(kLabel, Kind::kIntegers));
    const TfFeature* texts = ATOLL_TRY(objects(kText, Kind::kBytes));
    const std::array<const TfFeature*, 4> box = {ATOLL_TRY(objects(kXmin, Kind::kFloats)),
                                                 ATOLL_TRY(objects(kXmax, Kind::kFloats)),
                                                 ATOLL_TRY(objects(kYmin, Kind::kFloats)),
                                                 ATOLL_TRY(objects(kYmax, Kind::kFloats))};
    const TfFeature* crowds = ATOLL_TRY(objects(kCrowd, Kind::kIntegers));
    const TfFeature* areas = ATOLL_TRY(objects(kArea, Kind::kFloats));
    const TfFeature* masks = ATOLL_TRY(objects(kMask, Kind::kBytes));
    if (texts != nullptr) image_.class_texts = texts->bytes;
    for (size_t i = 0; i < image_.objects.size(); ++i) {
      AnnotationRecord& object = image_.objects[i];
      object.category_id = ATOLL_TRY(category(labels, texts, i));
      if (crowds != nullptr) object.crowd = crowds->integers[i] != 0;
      if (areas != nullptr) object.area = static_cast<double>(areas->floats[i]);
    }
    ATOLL_TRY(read_boxes(box));
    return read_masks(masks);
  }

  Result<int64_t> category(const TfFeature* labels, const TfFeature* texts, size_t index) const {
    if (labels != nullptr) return labels->integers[index];
    if (texts == nullptr) return bad(fmt::format("neither {} nor {}", kLabel, kText));
    const std::string_view name = texts->bytes[index];
    const auto id = labels_ == nullptr ? std::nullopt : labels_->id_of(name);
    if (id) return *id;
    return bad(fmt::format("no {}, and the class \"{}\" is in no label map", kLabel, name),
               "put a label_map.pbtxt with it beside the records");
  }

  Result<void> read_boxes(const std::array<const TfFeature*, 4>& box) {
    const auto there = std::ranges::count_if(box, [](const auto* side) { return side != nullptr; });
    if (there == 0) return {};
    if (there != 4) return bad("some of image/object/bbox/{xmin,xmax,ymin,ymax} are missing");
    const auto& [xmin, xmax, ymin, ymax] = box;
    const auto width = static_cast<double>(image_.width);
    const auto height = static_cast<double>(image_.height);
    for (size_t i = 0; i < image_.objects.size(); ++i) {
      const double left = static_cast<double>(xmin->floats[i]) * width;
      const double top = static_cast<double>(ymin->floats[i]) * height;
      image_.objects[i].box = {left,
                               top,
                               static_cast<double>(xmax->floats[i]) * width - left,
                               static_cast<double>(ymax->floats[i]) * height - top};
    }
    return {};
  }

  Result<void> read_masks(const TfFeature* masks) {
    if (masks == nullptr) return {};
    for (size_t i = 0; i < image_.objects.size(); ++i) {
      AnnotationRecord& object = image_.objects[i];
      if (masks->bytes[i].empty()) continue;
      object.rle = ATOLL_TRY_CONTEXT(
          mask_from_png(masks->bytes[i],
                        static_cast<uint32_t>(std::clamp<int64_t>(image_.height, 0, UINT32_MAX)),
                        static_cast<uint32_t>(std::clamp<int64_t>(image_.width, 0, UINT32_MAX))),
          fmt::format("{} {}", kMask, i));
      object.kind = SegmentationKind::kRle;
    }
    return {};
  }

  // The gate that every record of a dataset goes through, for this image alone.
  Result<void> check() {
    CocoBuilder builder;
    // The name is replaced later where it cannot be one.
    ATOLL_TRY(builder.add_image(
        {.id = 0, .width = image_.width, .height = image_.height, .file_name = "the picture"}));
    std::vector<int64_t> labels;
    for (size_t i = 0; i < image_.objects.size(); ++i) {
      AnnotationRecord& object = image_.objects[i];
      if (std::ranges::find(labels, object.category_id) == labels.end()) {
        labels.push_back(object.category_id);
        ATOLL_TRY(builder.add_category({.id = object.category_id, .name = "a class"}));
      }
      object.id = static_cast<int64_t>(i);
      ATOLL_TRY(builder.add_annotation(object));
    }
    return {};
  }

  const TfExample& example_;
  const LabelMap* labels_;
  TfrecordImage image_;
  std::string_view counted_by_;
};

std::string_view format_name(ImageHeader::Format format) {
  return format == ImageHeader::Format::kJpeg ? "jpeg" : "png";
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The lists of objects of one image.
struct ObjectLists {
  std::vector<float> xmin, xmax, ymin, ymax, area;
  std::vector<int64_t> labels, crowds;
  std::vector<std::string_view> texts;

  void add(const CocoDataset& dataset, const Image& image, const Annotation& annotation) {
    const auto [x, y, w, h] = annotation.box;
    xmin.push_back(static_cast<float>(x / image.width));
    xmax.push_back(static_cast<float>((x + w) / image.width));
    ymin.push_back(static_cast<float>(y / image.height));
    ymax.push_back(static_cast<float>((y + h) / image.height));
    area.push_back(static_cast<float>(annotation.area));
    crowds.push_back(annotation.crowd ? 1 : 0);
    labels.push_back(annotation.category_id);
    const auto label = static_cast<size_t>(*dataset.label_of(annotation.category_id));
    texts.push_back(dataset.categories()[label - 1].name);
  }
};

}  // namespace

Result<TfrecordImage> read_tfrecord_image(const TfExample& example, const LabelMap* labels) {
  return ImageReader(example, labels).read();
}

Result<std::string> tfrecord_of_image(const CocoDataset& dataset,
                                      size_t image_index,
                                      std::span<const std::byte> encoded) {
  const Image& image = dataset.images()[image_index];
  const auto header = ATOLL_TRY(read_image_header(encoded));
  const auto annotations = dataset.annotations_of(image_index);
  ObjectLists lists;
  for (const Annotation& annotation : annotations) lists.add(dataset, image, annotation);

  std::vector<std::string> masks;
  if (std::ranges::any_of(annotations,
                          [](const auto& a) { return a.kind != SegmentationKind::kNone; })) {
    for (const Annotation& annotation : annotations) {
      masks.push_back(ATOLL_TRY(mask_to_png(dataset.mask_of(annotation))));
    }
  }
  const std::vector<std::string_view> mask_views(masks.begin(), masks.end());

  TfExampleWriter writer;
  writer.add(kHeight, int64_t{image.height});
  writer.add(kWidth, int64_t{image.width});
  writer.add(kFileName, image.file_name);
  writer.add(kSourceId, fmt::format("{}", image.id));
  writer.add(kSha256, storage::sha256_hex(encoded));
  writer.add(kEncoded, text_of(encoded));
  writer.add(kFormat, format_name(header.format));
  writer.add_floats(kXmin, lists.xmin);
  writer.add_floats(kXmax, lists.xmax);
  writer.add_floats(kYmin, lists.ymin);
  writer.add_floats(kYmax, lists.ymax);
  writer.add_bytes(kText, lists.texts);
  writer.add_integers(kLabel, lists.labels);
  writer.add_integers(kCrowd, lists.crowds);
  writer.add_floats(kArea, lists.area);
  if (!masks.empty()) writer.add_bytes(kMask, mask_views);
  return writer.finish();
}

}  // namespace atl::dataset
