#include "storage/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace atl::storage {
namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

Result<CacheSettings> settings(const Variables& variables) {
  return read_cache_settings([&](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

TEST(CacheSettingsTest, the_cache_lies_where_it_is_named_else_where_caches_lie) {
  EXPECT_EQ(settings({{"HOME", "/users/a"}})->directory, "/users/a/.cache/atoll/s3");
  EXPECT_EQ(settings({{"HOME", "/users/a"}, {"XDG_CACHE_HOME", "/c"}})->directory, "/c/atoll/s3");
  EXPECT_EQ(settings({{"HOME", "/users/a"}, {"XDG_CACHE_HOME", "c"}})->directory,
            "/users/a/.cache/atoll/s3");
  EXPECT_EQ(settings({{"HOME", "/users/a"}, {"ATOLL_CACHE_DIR", "/fsx/cache"}})->directory,
            "/fsx/cache");
  EXPECT_EQ(settings({{"ATOLL_CACHE_DIR", "here"}})->directory, "here");
}

TEST(CacheSettingsTest, without_a_place_it_says_how_to_name_one) {
  const auto none = settings({});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kInvalidInput);
  EXPECT_THAT(none.error().hint, ::testing::HasSubstr("--cache-dir"));
}

TEST(CacheSettingsTest, sizes_and_ages_are_read_or_refused) {
  const auto read =
      settings({{"HOME", "/h"}, {"ATOLL_CACHE_SIZE", "200GB"}, {"ATOLL_LISTING_AGE", "60"}});
  EXPECT_EQ(read->max_bytes, 200'000'000'000);
  EXPECT_EQ(read->listing_age, std::chrono::minutes(1));
  EXPECT_EQ(settings({{"HOME", "/h"}, {"ATOLL_CACHE_SIZE", ""}})->max_bytes, uint64_t{100} << 30);
  for (const char* bad : {"x", "-1", "1h", "99999999999999999999"}) {
    EXPECT_EQ(settings({{"HOME", "/h"}, {"ATOLL_LISTING_AGE", bad}}).error().code,
              ErrorCode::kInvalidInput)
        << bad;
  }
  EXPECT_FALSE(settings({{"HOME", "/h"}, {"ATOLL_CACHE_SIZE", "many"}}));
}

}  // namespace
}  // namespace atl::storage
