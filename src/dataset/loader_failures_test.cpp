// Pictures that cannot be read, and stores that fail: who is told, and what goes on.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <stdexcept>

#include "dataset/loader_fixture.h"
#include "dataset/resize_rows.h"

namespace atl::dataset {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

class ThrowingStore : public storage::FakeStore {
 public:
  Result<storage::Blob> get(std::string_view) override { throw std::runtime_error("boom"); }
};

using LoaderFailures = LoaderTest;

TEST_F(LoaderFailures, a_bad_image_is_left_out_and_named_once) {
  for (int i = 0; i < 4; ++i) add_image({64, 48});
  const auto file = encode_png(noise({64, 48}, 0)).value();
  overwrite(1, {reinterpret_cast<const char*>(file.data()), file.size() / 2});
  ASSERT_TRUE(store_.remove("train/2.png"));
  finish();
  LoaderOptions options = options_at_own_size();
  options.max_bad_images = 2;
  options.flip_probability = 0;
  Loader loader = this->loader(options, {{0, 1, 3}, {1, 2}, {3, 2, 1, 0}});
  const auto batches = all_of(loader);
  ASSERT_EQ(batches.size(), 3U);
  ASSERT_EQ(batches[0].samples.size(), 2U);
  EXPECT_EQ(batches[0].samples[1].image_index, 3);
  ASSERT_EQ(batches[0].pixels.size(), 2U * 64 * 64 * 3);
  // All of a batch gone: the step is still there.
  EXPECT_EQ(batches[1].step, 1);
  EXPECT_THAT(batches[1].samples, IsEmpty());
  EXPECT_THAT(batches[1].pixels, IsEmpty());
  // The gaps are closed: image 3 has the same pixels in both batches.
  ASSERT_EQ(batches[2].samples.size(), 2U);
  EXPECT_TRUE(std::equal(batches[2].pixels.begin(),
                         batches[2].pixels.begin() + 64 * 64 * 3,
                         batches[0].pixels.begin() + 64 * 64 * 3));
  EXPECT_THAT(loader.bad_images(),
              ElementsAre(AllOf(Field(&BadImage::image_id, 101),
                                Field(&BadImage::what, HasSubstr("train/1.png: PNG: truncated"))),
                          AllOf(Field(&BadImage::image_id, 102),
                                Field(&BadImage::what, HasSubstr("train/2.png")))));
}

TEST_F(LoaderFailures, a_batch_of_bfloat16_is_that_of_floats_rounded) {
  for (int i = 0; i < 4; ++i) add_image({64, 48});
  for (int i = 0; i < 4; ++i) add_annotation(i, {10, 5, 40, 30}, {10, 5, 50, 5, 50, 35, 10, 35});
  overwrite(1, "no picture");
  finish();
  LoaderOptions options = options_at_own_size();
  options.max_bad_images = 1;
  options.augment.lsj_size_px = 64;
  options.augment.copy_paste_probability = 1;
  const Plan plan = {{0, 1, 2, 3}, {3, 1, 0, 2}};
  Loader exact = loader(options, plan);
  options.pixel_type = PixelType::kBfloat16;
  Loader rounded = loader(options, plan);
  size_t pastes = 0;
  for (size_t step = 0; step < plan.size(); ++step) {
    const auto floats = exact.next();
    const auto halves = rounded.next();
    ASSERT_TRUE(floats && *floats && halves && *halves);
    for (const Sample& sample : (*floats)->samples) pastes += sample.pastes.size();
    const auto expected = (*floats)->pixels.floats();
    const auto values = (*halves)->pixels.bfloat16s();
    ASSERT_EQ(values.size(), expected.size());
    ASSERT_GT(values.size(), 0U);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], internal::to_bfloat16(expected[i])) << "step " << step << ", " << i;
    }
  }
  EXPECT_GT(pastes, 0U);
}

TEST_F(LoaderFailures, one_bad_image_too_many_is_an_error_that_lists_them_all) {
  for (int i = 0; i < 4; ++i) add_image({64, 48});
  overwrite(1, "");
  overwrite(2, "text");
  finish();
  LoaderOptions options = options_at_own_size();
  options.max_bad_images = 1;
  options.bad_limit_name = "--max-bad-images";
  Loader loader = this->loader(options, {{0, 1}, {2, 3}, {0, 3}});
  ASSERT_TRUE(loader.next());
  for (int again = 0; again < 2; ++again) {
    const auto failed = loader.next();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kInvalidInput);
    EXPECT_THAT(failed.error().message, HasSubstr("2 unreadable images, 1 allowed"));
    EXPECT_THAT(failed.error().message, HasSubstr("train/1.png: empty file"));
    EXPECT_THAT(failed.error().message, HasSubstr("train/2.png: neither JPEG nor PNG"));
    EXPECT_EQ(failed.error().hint, "repair them, or raise --max-bad-images");
    // The program prints the first line of a message.
    EXPECT_EQ(failed.error().message.find('\n'), std::string::npos);
  }
}

TEST_F(LoaderFailures, a_picture_of_another_size_than_the_annotations_say_is_bad) {
  add_image({64, 48});
  const auto file = encode_png(noise({60, 48}, 0)).value();
  overwrite(0, {reinterpret_cast<const char*>(file.data()), file.size()});
  finish();
  Loader loader = this->loader(options_at_own_size(), {{0}});
  const auto failed = loader.next();
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("60x48"));
}

TEST_F(LoaderFailures, a_picture_that_the_bucket_has_and_does_not_give_is_bad) {
  for (int i = 0; i < 2; ++i) add_image({64, 48});
  finish();
  store_.fail_calls("get train/0.png", Error{ErrorCode::kInconsistent, "not given", {}, {}});
  LoaderOptions options = options_at_own_size();
  options.max_bad_images = 1;
  Loader loader = this->loader(options, {{0, 1}});
  EXPECT_EQ(all_of(loader).at(0).samples.size(), 1U);
  EXPECT_THAT(loader.bad_images(), ElementsAre(Field(&BadImage::what, HasSubstr("not given"))));
}

TEST_F(LoaderFailures, a_failing_store_is_an_error_of_its_own) {
  add_image({64, 48});
  finish();
  store_.fail_call(1, Error{ErrorCode::kIo, "the disk is gone", {}, {}});
  LoaderOptions options = options_at_own_size();
  options.max_bad_images = 1000;
  options.threads = 1;  // so that the first read is the first batch's
  Loader loader = this->loader(options, {{0}, {0}});
  for (int again = 0; again < 2; ++again) {
    const auto failed = loader.next();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kIo);
    EXPECT_THAT(failed.error().to_string(), HasSubstr("loading train/0.png"));
    EXPECT_THAT(failed.error().to_string(), HasSubstr("the disk is gone"));
  }
  EXPECT_THAT(loader.bad_images(), IsEmpty());
}

TEST_F(LoaderFailures, an_exception_in_a_thread_reaches_the_caller_as_an_error) {
  add_image({64, 48});
  finish();
  ThrowingStore store;
  LoaderOptions options = options_at_own_size();
  options.threads = 3;
  Loader loader = this->loader(options, {{0, 0, 0}}, &store);
  const auto failed = loader.next();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kInternal);
  EXPECT_THAT(failed.error().message, HasSubstr("boom"));
}

}  // namespace
}  // namespace atl::dataset
