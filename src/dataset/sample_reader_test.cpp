#include "dataset/sample_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/keyed_random.h"
#include "dataset/coco_builder.h"
#include "storage/fake_store.h"

namespace atl::dataset {
namespace {

using testing::HasSubstr;

Picture noise(ImageSize size, uint64_t seed) {
  Picture picture{size.width,
                  size.height,
                  std::vector<uint8_t>(static_cast<size_t>(size.width * size.height * 3))};
  KeyedRandom random(seed);
  for (uint8_t& value : picture.rgb) value = static_cast<uint8_t>(random.below(256));
  return picture;
}

class SampleReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    CocoBuilder builder;
    for (int64_t i = 0; i < 2; ++i) {
      const std::string name = fmt::format("{}.png", i);
      pictures_.push_back(noise(sizes_[static_cast<size_t>(i)], static_cast<uint64_t>(i)));
      const ImageSize size = sizes_[static_cast<size_t>(i)];
      ASSERT_TRUE(builder.add_image({i, size.width, size.height, name}));
      const auto file = encode_png(pictures_.back()).value();
      const std::span<const std::byte> part(file);
      ASSERT_TRUE(store_.put(prefix_ + name, {&part, 1}));
    }
    dataset_ = builder.finish();
    options_.mean = {0.5F, 0.25F, 0};
    options_.standard_deviation = {0.5F, 1, 2};
  }

  // A window of the first picture at its own size.
  static Sample window_of_first() {
    Sample sample;
    sample.image_index = 0;
    sample.original = sample.scaled = sizes_[0];
    sample.left = 3;
    sample.top = 2;
    sample.resized = {20, 10};
    return sample;
  }
  tl::expected<void, SampleReader::Failure> read(const Sample& sample) {
    SampleReader reader(dataset_, store_, prefix_, options_, nullptr);
    plane_.assign(size_t{32} * 16 * 3, 12345.0F);
    return reader.read(
        sample, 0, {PixelType::kFloat32, 16, 32, reinterpret_cast<std::byte*>(plane_.data())});
  }
  float normalised(const Picture& picture, int x, int y, size_t c) const {
    const auto at = static_cast<size_t>((y * picture.width + x) * 3) + c;
    const float value = static_cast<float>(picture.rgb[at]) / 255.0F;
    return (value - options_.mean[c]) / options_.standard_deviation[c];
  }
  float plane(int x, int y, size_t c) const {
    return plane_[static_cast<size_t>((y * 32 + x) * 3) + c];
  }

  static constexpr std::array<ImageSize, 2> sizes_ = {ImageSize{30, 15}, ImageSize{12, 18}};
  const std::string prefix_ = "train/";
  std::vector<Picture> pictures_;
  storage::FakeStore store_;
  CocoDataset dataset_;
  LoaderOptions options_;
  std::vector<float> plane_;
};

TEST_F(SampleReaderTest, a_window_is_cut_mirrored_and_padded) {
  for (const bool flipped : {false, true}) {
    Sample sample = window_of_first();
    sample.flipped = flipped;
    ASSERT_TRUE(read(sample));
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 32; ++x) {
        for (size_t c = 0; c < 3; ++c) {
          const bool inside = x < 20 && y < 10;
          const float expected =
              inside ? normalised(pictures_[0], 3 + (flipped ? 19 - x : x), 2 + y, c) : 0;
          ASSERT_NEAR(plane(x, y, c), expected, 1e-6) << x << "," << y;
        }
      }
    }
  }
}

// The plain path against the definition in float64: the reference's half-pixel bilinear resize of the
// decoded picture, mirrored first.
TEST_F(SampleReaderTest, a_jpeg_is_within_the_bounds_of_the_reference) {
  const Picture smooth{30, 15, [] {
                         std::vector<uint8_t> rgb;
                         for (int i = 0; i < 30 * 15 * 3; ++i) {
                           rgb.push_back(static_cast<uint8_t>(128 + 120 * std::sin(i * 0.21)));
                         }
                         return rgb;
                       }()};
  const auto file = encode_jpeg(smooth).value();
  const std::span<const std::byte> part(file);
  ASSERT_TRUE(store_.put(prefix_ + "0.png", {&part, 1}));
  const Picture decoded = decode_image(file).value();
  for (const bool flipped : {false, true}) {
    Sample sample = window_of_first();
    sample.flipped = flipped;
    sample.scaled = sample.resized = {32, 16};
    sample.left = sample.top = 0;
    ASSERT_TRUE(read(sample));
    double sum = 0;
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 32; ++x) {
        const double source_x = std::max(0.0, (x + 0.5) * 30 / 32 - 0.5);
        const double source_y = std::max(0.0, (y + 0.5) * 15 / 16 - 0.5);
        const int left = static_cast<int>(source_x);
        const int top = static_cast<int>(source_y);
        const auto pixel = [&](int column, int row, size_t c) {
          column = std::min(column, 29);
          if (flipped) column = 29 - column;
          return static_cast<double>(normalised(decoded, column, std::min(row, 14), c));
        };
        for (size_t c = 0; c < 3; ++c) {
          const double right = source_x - left;
          const double down = source_y - top;
          const double expected =
              (1 - down) * ((1 - right) * pixel(left, top, c) + right * pixel(left + 1, top, c)) +
              down * ((1 - right) * pixel(left, top + 1, c) + right * pixel(left + 1, top + 1, c));
          const double steps = 255 * options_.standard_deviation[c] *
                               std::abs(static_cast<double>(plane(x, y, c)) - expected);
          ASSERT_LT(steps, 3) << x << "," << y;
          sum += steps;
        }
      }
    }
    EXPECT_LT(sum / (32 * 16 * 3), 1);
  }
}

TEST_F(SampleReaderTest, a_jpeg_of_twice_the_size_is_shrunk_by_its_decoder_unless_told_otherwise) {
  const auto file = encode_jpeg(pictures_[0]).value();
  const std::span<const std::byte> part(file);
  ASSERT_TRUE(store_.put(prefix_ + "0.png", {&part, 1}));
  Sample sample = window_of_first();
  sample.scaled = {15, 8};  // of 30 x 15
  sample.left = 2;
  sample.top = 1;
  sample.resized = {10, 6};
  options_.shrink_in_decoder = false;
  ASSERT_TRUE(read(sample));
  const auto skipped = plane_;
  options_.shrink_in_decoder = true;
  ASSERT_TRUE(read(sample));
  EXPECT_NE(plane_, skipped);
  // The pixels of the shrunk picture themselves.
  PicturePart shrunk;
  ASSERT_TRUE(decode_image_part(file, {30, 15}, {2, {}}, kMaxPixels, shrunk));
  for (int x = 0; x < 10; ++x) {
    const double row = (1 + 1 + 0.5) * 7.5 / 8 - 0.5;
    const int top = static_cast<int>(row);
    const double expected =
        (1 - (row - top)) * static_cast<double>(normalised(shrunk.picture, x + 2, top, 1)) +
        (row - top) * static_cast<double>(normalised(shrunk.picture, x + 2, top + 1, 1));
    EXPECT_NEAR(plane(x, 1, 1), expected, 1e-5) << x;
  }
}

TEST_F(SampleReaderTest, pasted_pixels_come_from_the_other_picture_where_the_mask_is_set) {
  KeyedRandom random(3);
  for (const bool flipped : {false, true}) {
    // The other picture covers x in [5, 17) of the window, or of its mirror image.
    std::vector<uint8_t> bitmap(size_t{20} * 10);
    for (int x = 0; x < 20; ++x) {
      const int from = flipped ? 19 - x : x;
      if (from < 5 || from >= 17 || x == 11) continue;
      for (int y = 1; y < 9; ++y) {
        bitmap[static_cast<size_t>(x * 10 + y)] = random.below(3) > 0 ? 1 : 0;
      }
    }
    Sample sample = window_of_first();
    Paste paste;
    paste.image_index = 1;
    paste.scaled = sizes_[1];
    paste.left = -5;
    paste.top = 4;
    paste.flipped = flipped;
    paste.mask = rle_from_bitmap(bitmap, 10, 20);
    sample.pastes = {paste};
    ASSERT_TRUE(read(sample));
    for (int y = 0; y < 10; ++y) {
      for (int x = 0; x < 20; ++x) {
        const bool pasted = bitmap[static_cast<size_t>(x * 10 + y)] != 0;
        for (size_t c = 0; c < 3; ++c) {
          const int from = flipped ? 19 - x : x;
          const float expected = pasted ? normalised(pictures_[1], from - 5, y + 4, c)
                                        : normalised(pictures_[0], 3 + x, 2 + y, c);
          ASSERT_NEAR(plane(x, y, c), expected, 1e-6) << x << "," << y << " " << pasted;
        }
      }
    }
  }
}

TEST_F(SampleReaderTest, a_pasted_picture_that_cannot_be_read_is_the_one_that_is_named) {
  ASSERT_TRUE(store_.remove("train/1.png"));
  Sample sample = window_of_first();
  Paste paste;
  paste.image_index = 1;
  paste.scaled = sizes_[1];
  paste.mask = {10, 20, {50, 20, 130}};
  sample.pastes = {paste};
  const auto failed = read(sample);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().image_index, 1);
  EXPECT_THAT(failed.error().error.to_string(), HasSubstr("train/1.png"));
  // Nothing of it is wanted, nothing is read.
  sample.pastes[0].mask = {10, 20, {200}};
  EXPECT_TRUE(read(sample));
}

}  // namespace
}  // namespace atl::dataset
