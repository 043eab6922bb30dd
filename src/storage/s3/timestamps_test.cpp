#include "storage/s3/timestamps.h"

#include <gtest/gtest.h>

namespace atl::storage {
namespace {

int64_t milliseconds(std::string_view text) {
  const auto time = parse_rfc3339(text);
  if (!time) return -1;
  return std::chrono::duration_cast<std::chrono::milliseconds>(time->time_since_epoch()).count();
}

TEST(Timestamps, are_read_with_fractions_and_offsets) {
  EXPECT_EQ(milliseconds("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(milliseconds("2013-05-24T00:00:00Z"), 1369353600000);
  EXPECT_EQ(milliseconds("2024-02-29T23:59:59.123Z"), 1709251199123);
  EXPECT_EQ(milliseconds("2013-05-24T00:00:00.1234567891Z"), 1369353600123);
  EXPECT_EQ(milliseconds("2013-05-24T01:30:00+01:30"), 1369353600000);
  EXPECT_EQ(milliseconds("2013-05-23T19:00:00-05:00"), 1369353600000);
  EXPECT_EQ(milliseconds("2013-05-24t00:00:00z"), 1369353600000);
}

TEST(Timestamps, that_are_none_are_refused) {
  for (const std::string_view text : {"",
                                      "2013-05-24",
                                      "2013-05-24T00:00:00",
                                      "2013-05-24T00:00Z",
                                      "2013-02-29T00:00:00Z",
                                      "2013-13-01T00:00:00Z",
                                      "2013-05-24T24:00:00Z",
                                      "2013-05-24T00:60:00Z",
                                      "2013-05-24T00:00:00.Z",
                                      "2013-05-24T00:00:00+1",
                                      "2013-05-24T00:00:00+99:00",
                                      "2013-05-24T00:00:00Z ",
                                      "9999-12-31T00:00:00Z",
                                      "0000-01-01T00:00:00Z"}) {
    EXPECT_FALSE(parse_rfc3339(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace atl::storage
