#include "dataset/tfrecord_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/keyed_random.h"
#include "dataset/image.h"
#include "dataset/tfrecord_mask.h"
#include "storage/sha256.h"

namespace atl::dataset {
namespace {

using testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::vector<std::byte> picture(int width, int height) {
  return encode_png({width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))})
      .value();
}

// 64 x 48: polygons, a crowd as RLE; in the third image an object without a mask.
CocoDataset small_dataset() {
  CocoBuilder builder;
  EXPECT_TRUE(builder.add_category({7, "disc", "shape"}));
  EXPECT_TRUE(builder.add_category({2, "star", "shape"}));
  for (const int64_t id : {10, 11, 12, 13}) {
    EXPECT_TRUE(builder.add_image({id, 64, 48, "img" + std::to_string(id) + ".png"}));
  }
  EXPECT_TRUE(builder.add_annotation({.id = 1,
                                      .image_id = 10,
                                      .category_id = 7,
                                      .box = std::array{3.25, 4.5, 20.1, 30.7},
                                      .area = 123.456,
                                      .kind = SegmentationKind::kPolygons,
                                      .coordinates = {3, 4, 23, 5, 20, 35, 4, 30, 1, 1, 9, 2, 5, 9},
                                      .polygon_lengths = {8, 6}}));
  EXPECT_TRUE(builder.add_annotation({.id = 2,
                                      .image_id = 10,
                                      .category_id = 2,
                                      .crowd = true,
                                      .kind = SegmentationKind::kRle,
                                      .rle = Rle{48, 64, {100, 50, 2922}}}));
  EXPECT_TRUE(builder.add_annotation(
      {.id = 3, .image_id = 12, .category_id = 2, .box = std::array{1.0, 2.0, 10.0, 8.0}}));
  EXPECT_TRUE(builder.add_annotation(
      {.id = 4, .image_id = 13, .category_id = 2, .box = std::array{1.0, 2.0, 10.0, 8.0}}));
  EXPECT_TRUE(builder.add_annotation({.id = 5,
                                      .image_id = 13,
                                      .category_id = 2,
                                      .kind = SegmentationKind::kRle,
                                      .rle = Rle{48, 64, {100, 50, 2922}}}));
  return builder.finish();
}

// The record lives as long as this.
struct RoundTrip {
  std::string record;
  TfExample example;
  TfrecordImage image;
};

void round_trip(const CocoDataset& dataset, size_t index, RoundTrip& trip) {
  const auto file = picture(64, 48);
  auto record = tfrecord_of_image(dataset, index, file);
  ASSERT_TRUE(record.has_value()) << record.error().to_string();
  trip.record = *std::move(record);
  auto example = TfExample::parse(bytes_of(trip.record));
  ASSERT_TRUE(example.has_value()) << example.error().to_string();
  trip.example = *std::move(example);
  auto image = read_tfrecord_image(trip.example, nullptr);
  ASSERT_TRUE(image.has_value()) << image.error().to_string();
  trip.image = *std::move(image);
}

TEST(TfrecordSchema, an_image_and_its_objects_come_back) {
  const CocoDataset dataset = small_dataset();
  RoundTrip trip;
  round_trip(dataset, 0, trip);
  const auto file = picture(64, 48);
  EXPECT_EQ(trip.image.encoded,
            std::string_view(reinterpret_cast<const char*>(file.data()), file.size()));
  EXPECT_EQ(trip.image.file_name, "img10.png");
  EXPECT_EQ(trip.image.source_id, "10");
  EXPECT_EQ(trip.image.width, 64);
  EXPECT_EQ(trip.image.height, 48);
  EXPECT_EQ(trip.example.find("image/format")->bytes.at(0), "png");
  EXPECT_EQ(trip.example.find("image/key/sha256")->bytes.at(0), storage::sha256_hex(file));
  ASSERT_EQ(trip.image.objects.size(), 2U);
  EXPECT_THAT(trip.image.class_texts, testing::ElementsAre("disc", "star"));
  for (size_t i = 0; i < 2; ++i) {
    const auto& object = trip.image.objects[i];
    const auto& annotation = dataset.annotations_of(0)[i];
    EXPECT_EQ(object.category_id, annotation.category_id);
    EXPECT_EQ(object.crowd, annotation.crowd);
    EXPECT_EQ(object.kind, SegmentationKind::kRle);
    EXPECT_EQ(object.rle, dataset.mask_of(annotation));
    EXPECT_EQ(*object.area, static_cast<double>(static_cast<float>(annotation.area)));
  }
}

TEST(TfrecordSchema, an_image_without_objects_comes_back) {
  const CocoDataset dataset = small_dataset();
  RoundTrip trip;
  round_trip(dataset, 1, trip);
  EXPECT_TRUE(trip.image.objects.empty());
  EXPECT_EQ(trip.image.width, 64);
}

TEST(TfrecordSchema, an_object_without_a_mask_has_none_unless_another_in_its_image_has_one) {
  const CocoDataset dataset = small_dataset();
  RoundTrip alone;
  round_trip(dataset, 2, alone);
  EXPECT_EQ(alone.example.find("image/object/mask"), nullptr);
  ASSERT_EQ(alone.image.objects.size(), 1U);
  EXPECT_EQ(alone.image.objects[0].kind, SegmentationKind::kNone);
  RoundTrip mixed;
  round_trip(dataset, 3, mixed);
  ASSERT_EQ(mixed.image.objects.size(), 2U);
  EXPECT_EQ(mixed.image.objects[0].rle, dataset.mask_of(dataset.annotations_of(3)[0]));
}

TEST(TfrecordSchema, boxes_come_back_within_two_to_the_minus_22_of_the_side) {
  KeyedRandom random({5});
  CocoBuilder builder;
  ASSERT_TRUE(builder.add_category({1, "a", ""}));
  for (int64_t i = 0; i < 200; ++i) {
    const auto width = static_cast<int64_t>(1 + random.below(4000));
    const auto height = static_cast<int64_t>(1 + random.below(4000));
    ASSERT_TRUE(builder.add_image({i, width, height, "x.png"}));
    const double x = random.uniform(-2, static_cast<double>(width));
    const double y = random.uniform(-2, static_cast<double>(height));
    ASSERT_TRUE(builder.add_annotation(
        {.id = i,
         .image_id = i,
         .category_id = 1,
         .box = std::array{x,
                           y,
                           random.uniform(0, static_cast<double>(width) - x),
                           random.uniform(0, static_cast<double>(height) - y)},
         .area = random.uniform(0, 1e6)}));
  }
  const CocoDataset dataset = builder.finish();
  for (size_t i = 0; i < dataset.images().size(); ++i) {
    RoundTrip trip;
    round_trip(dataset, i, trip);
    const auto& before = dataset.annotations_of(i)[0];
    const auto& after = trip.image.objects.at(0);
    const double sides[] = {static_cast<double>(dataset.images()[i].width),
                            static_cast<double>(dataset.images()[i].height)};
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_LE(std::abs((*after.box)[k] - before.box[k]), sides[k % 2] * 0x1p-22) << i;
      EXPECT_GE((*after.box)[2 + k % 2], 0) << i;
    }
    EXPECT_LE(std::abs(*after.area - before.area), before.area * 0x1p-24) << i;
  }
}

// A record that is right, to be changed.
struct Fields {
  std::string encoded;
  std::vector<int64_t> height = {6};
  std::vector<int64_t> width = {8};
  std::vector<float> xmin = {0.125F, 0.25F};
  std::vector<float> xmax = {0.5F, 0.75F};
  std::vector<float> ymin = {0, 0.5F};
  std::vector<float> ymax = {1, 1};
  std::vector<int64_t> labels = {3, 1};
  std::vector<std::string> texts = {"three", "one"};
  std::vector<int64_t> crowds = {0, 1};
  std::vector<float> areas = {9, 7};
  std::vector<std::string> masks;
  std::function<void(TfExampleWriter&)> more;

  Fields() {
    const auto file = picture(8, 6);
    encoded.assign(reinterpret_cast<const char*>(file.data()), file.size());
    const auto png = mask_to_png(Rle{6, 8, {6, 3, 39}}).value();
    masks = {png, png};
  }

  Result<TfrecordImage> read(std::string& record, const LabelMap* labels_map = nullptr) const {
    TfExampleWriter writer;
    const auto views = [](const std::vector<std::string>& strings) {
      return std::vector<std::string_view>(strings.begin(), strings.end());
    };
    if (!encoded.empty()) writer.add("image/encoded", encoded);
    writer.add_integers("image/height", height);
    writer.add_integers("image/width", width);
    writer.add_floats("image/object/bbox/xmin", xmin);
    writer.add_floats("image/object/bbox/xmax", xmax);
    writer.add_floats("image/object/bbox/ymin", ymin);
    writer.add_floats("image/object/bbox/ymax", ymax);
    writer.add_integers("image/object/class/label", labels);
    writer.add_bytes("image/object/class/text", views(texts));
    writer.add_integers("image/object/is_crowd", crowds);
    writer.add_floats("image/object/area", areas);
    writer.add_bytes("image/object/mask", views(masks));
    if (more) more(writer);
    record = writer.finish();
    return read_tfrecord_image(ATOLL_TRY(TfExample::parse(bytes_of(record))), labels_map);
  }
};

TEST(TfrecordSchema, a_box_is_in_pixels_of_the_image) {
  std::string record;
  const auto image = Fields().read(record);
  ASSERT_TRUE(image.has_value()) << image.error().to_string();
  EXPECT_EQ(*image->objects[0].box, (std::array<double, 4>{1, 0, 3, 6}));
  EXPECT_EQ(*image->objects[1].box, (std::array<double, 4>{2, 3, 4, 3}));
}

TEST(TfrecordSchema, what_may_be_missing_is_made_up_for) {
  Fields fields;
  fields.height = fields.width = {};
  fields.crowds = {};
  fields.areas = {};
  fields.texts = {};
  fields.xmin = fields.xmax = fields.ymin = fields.ymax = {};
  std::string record;
  const auto image = fields.read(record);
  ASSERT_TRUE(image.has_value()) << image.error().to_string();
  EXPECT_EQ(image->width, 8);
  EXPECT_EQ(image->height, 6);
  ASSERT_EQ(image->objects.size(), 2U);
  EXPECT_FALSE(image->objects[1].crowd);
  EXPECT_FALSE(image->objects[0].box.has_value());
  EXPECT_FALSE(image->objects[0].area.has_value());
  EXPECT_EQ(image->objects[0].rle, (Rle{6, 8, {6, 3, 39}}));
  EXPECT_TRUE(image->class_texts.empty());
}

TEST(TfrecordSchema, an_empty_mask_file_is_no_mask) {
  Fields fields;
  fields.masks[0] = "";
  std::string record;
  const auto image = fields.read(record);
  ASSERT_TRUE(image.has_value()) << image.error().to_string();
  EXPECT_EQ(image->objects[0].kind, SegmentationKind::kNone);
  EXPECT_EQ(image->objects[1].kind, SegmentationKind::kRle);
}

TEST(TfrecordSchema, a_class_without_a_label_is_looked_up_in_the_label_map) {
  Fields fields;
  fields.labels = {};
  std::string record;
  const auto without = fields.read(record);
  ASSERT_FALSE(without.has_value());
  EXPECT_THAT(without.error().to_string(), HasSubstr("\"three\" is in no label map"));
  const auto map = LabelMap::parse("item{id:30 name:'three'} item{id:10 name:'one'}").value();
  const auto image = fields.read(record, &map);
  ASSERT_TRUE(image.has_value()) << image.error().to_string();
  EXPECT_EQ(image->objects[0].category_id, 30);
  EXPECT_EQ(image->objects[1].category_id, 10);
}

struct Change {
  const char* why;
  std::function<void(Fields&)> make;
};

TEST(TfrecordSchema, what_is_wrong_is_named) {
  const Change changes[] = {
      {"no image/encoded", [](Fields& f) { f.encoded = ""; }},
      {"image/height has 2 values",
       [](Fields& f) {
         f.height = {6, 6};
       }},
      {"width x height is -8 x 6",
       [](Fields& f) {
         f.width = {-8};
         f.masks = {};
       }},
      {"width x height is 8 x 0",
       [](Fields& f) {
         f.height = {0};
         f.masks = {};
       }},
      {"the mask is 8 x 6, the image 8 x 7", [](Fields& f) { f.height = {7}; }},
      {"the image 8 x 0", [](Fields& f) { f.height = {INT64_MIN}; }},
      {"is_crowd has 1 values, image/object/class/label has 2", [](Fields& f) { f.crowds = {0}; }},
      {"image/object/mask has 1 values", [](Fields& f) { f.masks.pop_back(); }},
      {"some of image/object/bbox", [](Fields& f) { f.ymin = {}; }},
      {"image/object/mask 1: PNG", [](Fields& f) { f.masks[1].resize(40); }},
      {"neither image/object/class/label nor",
       [](Fields& f) {
         f.labels = {};
         f.texts = {};
       }},
      {"'bbox' is", [](Fields& f) { f.xmax[1] = 0.1F; }},
      {"'bbox' is", [](Fields& f) { f.xmax[0] = NAN; }},
      {"'bbox' is", [](Fields& f) { f.ymax[0] = INFINITY; }},
      {"'area' is", [](Fields& f) { f.areas[0] = -1; }},
      {"image/object/class/text is floats; expected bytes",
       [](Fields& f) {
         f.more = [](TfExampleWriter& w) {
           w.add_floats("image/object/class/text", std::array{1.0F, 2.0F});
         };
       }},
      {"neither 'bbox' nor",
       [](Fields& f) {
         f.masks = {};
         f.xmin = f.xmax = f.ymin = f.ymax = {};
       }},
  };
  for (const auto& [why, make] : changes) {
    Fields fields;
    make(fields);
    std::string record;
    const auto image = fields.read(record);
    ASSERT_FALSE(image.has_value()) << why;
    EXPECT_EQ(image.error().code, ErrorCode::kInvalidInput);
    EXPECT_THAT(image.error().to_string(), HasSubstr(why));
  }
}

TEST(TfrecordSchema, a_picture_that_is_none_is_refused_when_written) {
  const CocoDataset dataset = small_dataset();
  EXPECT_FALSE(tfrecord_of_image(dataset, 0, bytes_of("no picture")).has_value());
}

}  // namespace
}  // namespace atl::dataset
