#include "dataset/tfrecord_manifest.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::dataset {
namespace {

using testing::IsEmpty;

constexpr std::string_view kLine =
    R"({"shard":"a","bytes":7,"crc32c":4294967295,"images":2,"bad_images":["x: y"]})";
const ShardEntry kEntry{7, 4294967295, 2, {"x: y"}};

TEST(TfrecordManifest, a_line_is_read_as_it_was_written) {
  EXPECT_EQ(manifest_line("a", kEntry), fmt::format("{}\n", kLine));
  EXPECT_EQ(read_manifest(manifest_line("a", kEntry)), (FinishedShards{{"a", kEntry}}));
}

TEST(TfrecordManifest, the_later_line_of_a_shard_counts) {
  const ShardEntry earlier{1, 2, 3, {}};
  EXPECT_EQ(read_manifest(manifest_line("a", earlier) + manifest_line("b", earlier) +
                          manifest_line("a", kEntry)),
            (FinishedShards{{"a", kEntry}, {"b", earlier}}));
}

TEST(TfrecordManifest, lines_that_are_cut_off_or_anothers_are_passed_over) {
  for (size_t size = 0; size < kLine.size(); ++size) {
    const auto read =
        read_manifest(std::string(kLine.substr(0, size)) + "\n" + manifest_line("b", kEntry));
    EXPECT_EQ(read, (FinishedShards{{"b", kEntry}})) << size;
  }
  for (const std::string_view line : {"7", "null", "[]", "{}", "\n\n"}) {
    EXPECT_THAT(read_manifest(line), IsEmpty()) << line;
  }
}

TEST(TfrecordManifest, numbers_that_do_not_fit_are_none_of_ours) {
  for (const std::string_view number : {"-1", "1e300", "1.5", "\"7\"", "99999999999999999999"}) {
    for (const char* key : {"bytes", "crc32c", "images"}) {
      std::string line(kLine);
      const size_t begin = line.find(std::string("\"") + key) + std::string(key).size() + 3;
      line.replace(begin, line.find(',', begin) - begin, number);
      EXPECT_THAT(read_manifest(line), IsEmpty()) << line;
    }
  }
  EXPECT_THAT(
      read_manifest(R"({"shard":"a","bytes":7,"crc32c":4294967296,"images":2,"bad_images":[]})"),
      IsEmpty());
  EXPECT_THAT(read_manifest(R"({"shard":"a","bytes":7,"crc32c":1,"images":2,"bad_images":[1]})"),
              IsEmpty());
}

}  // namespace
}  // namespace atl::dataset
