// TFRecords that another program wrote (reference/tfrecord_goldens.py), against what pycocotools and
// numpy say is in them.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "dataset/image.h"
#include "dataset/tfrecord_dataset.h"

namespace atl::dataset {
namespace {

const std::string kFolder = ATOLL_SOURCE_DIR "/reference/goldens/tfrecord";

CocoDataset expected() {
  std::stringstream text;
  text << std::ifstream(kFolder + "/expected.json").rdbuf();
  auto parsed = CocoDataset::parse(text.str(), "expected.json");
  EXPECT_TRUE(parsed.has_value()) << parsed.error().to_string();
  return parsed ? *std::move(parsed) : CocoDataset();
}

TEST(TfrecordGoldens, another_writers_records_are_read_to_the_last_bit) {
  const CocoDataset wanted = expected();
  const auto records = open_tfrecords("tfrecord:" + kFolder, {.threads = 2});
  ASSERT_TRUE(records.has_value()) << records.error().to_string();
  const CocoDataset& data = records->dataset;
  ASSERT_EQ(data.categories().size(), wanted.categories().size());
  for (size_t i = 0; i < data.categories().size(); ++i) {
    EXPECT_EQ(data.categories()[i].id, wanted.categories()[i].id);
    EXPECT_EQ(data.categories()[i].name, wanted.categories()[i].name);
  }
  ASSERT_EQ(data.images().size(), wanted.images().size());
  size_t objects = 0;
  for (size_t i = 0; i < data.images().size(); ++i) {
    const auto& image = data.images()[i];
    EXPECT_EQ(image.id, wanted.images()[i].id);
    EXPECT_EQ(image.file_name, wanted.images()[i].file_name);
    EXPECT_EQ(image.width, wanted.images()[i].width);
    EXPECT_EQ(image.height, wanted.images()[i].height);
    const auto picture = records->store->get(image.file_name);
    ASSERT_TRUE(picture.has_value()) << picture.error().to_string();
    EXPECT_TRUE(decode_image(picture->bytes(), {image.width, image.height}).has_value());
    const auto before = wanted.annotations_of(i);
    const auto after = data.annotations_of(i);
    ASSERT_EQ(after.size(), before.size()) << image.file_name;
    for (size_t k = 0; k < after.size(); ++k, ++objects) {
      EXPECT_EQ(after[k].id, before[k].id);
      EXPECT_EQ(after[k].category_id, before[k].category_id) << image.file_name;
      EXPECT_EQ(after[k].crowd, before[k].crowd) << image.file_name;
      EXPECT_EQ(after[k].box, before[k].box) << image.file_name;
      EXPECT_EQ(after[k].area, before[k].area) << image.file_name;
      EXPECT_EQ(data.mask_of(after[k]), wanted.mask_of(before[k])) << image.file_name << " " << k;
    }
  }
  EXPECT_GT(objects, 15U);
}

}  // namespace
}  // namespace atl::dataset
