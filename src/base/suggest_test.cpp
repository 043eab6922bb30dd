#include "base/suggest.h"

#include <gtest/gtest.h>

#include <vector>

namespace atl {
namespace {

TEST(Suggest, finds_the_word_that_was_mistyped) {
  const std::vector<std::string> words = {"train", "eval", "predict", "coco-eval", "data"};
  EXPECT_EQ(nearest("trian", words), "train");
  EXPECT_EQ(nearest("tain", words), "train");
  EXPECT_EQ(nearest("traain", words), "train");
  EXPECT_EQ(nearest("evel", words), "eval");
  EXPECT_EQ(nearest("coco_eval", words), "coco-eval");
  EXPECT_EQ(nearest("dtaa", words), "data");
}

TEST(Suggest, says_nothing_where_nothing_is_near) {
  const std::vector<std::string> words = {"train", "eval"};
  EXPECT_EQ(nearest("", words), "");
  EXPECT_EQ(nearest("x", words), "");
  EXPECT_EQ(nearest("validate", words), "");
  EXPECT_EQ(nearest(std::string(100'000, 't'), words), "");
  EXPECT_EQ(nearest("train", {}), "");
}

}  // namespace
}  // namespace atl
