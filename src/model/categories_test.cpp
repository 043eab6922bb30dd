#include "model/categories.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace atl::model {
namespace {

TEST(Categories, come_back_as_they_were_written) {
  const CategoryMap categories{{0, -3, INT64_MAX}, {"dog", "cät \"1\"", ""}};
  const auto again = categories_from_json(to_json(categories));
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(*again, categories);
}

TEST(Categories, anything_else_is_damaged) {
  for (const char* json : {"",
                           "{}",
                           "[1]",
                           "[{\"id\": 1}]",
                           "[{\"id\": \"1\", \"name\": \"a\"}]",
                           "[{\"id\": 1.5, \"name\": \"a\"}]",
                           "[{\"id\": 9223372036854775808, \"name\": \"a\"}]",
                           "[{\"id\": 1, \"name\": 2}]",
                           "[{\"id\": 1, \"name\": \"a\"}"}) {
    const auto categories = categories_from_json(json);
    ASSERT_FALSE(categories) << json;
    EXPECT_EQ(categories.error().code, ErrorCode::kCorrupt);
  }
}

}  // namespace
}  // namespace atl::model
