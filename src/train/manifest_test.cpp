#include "train/manifest.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/keyed_random.h"

namespace atl::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Manifest some_manifest() {
  Manifest manifest;
  manifest.state.step = 400;
  manifest.state.metrics_bytes = 12345;
  manifest.state.best_ap = 0.1 + 0.2;
  manifest.state.bad_images = {"b.jpg: not an image"};
  manifest.state.config = "preset = \"tiny\"\n";
  manifest.state.categories = {{0, 7}, {"dog", "cät"}};
  manifest.shards = {{{1000, 0xdeadbeef}, {{"model.a", {"F32", {7, 3}}}, {"model.n", {"I64", {}}}}},
                     {{0, 0}, {}},
                     {{24, 0x00000001}, {{"optimizer.a", {"BF16", {0, 5}}}}}};
  return manifest;
}

std::string error_of(const std::string& text) {
  const auto read = manifest_from_text(text, "m");
  return read ? "no error" : read.error().to_string();
}

TEST(Manifest, comes_back_as_it_was) {
  const auto read = manifest_from_text(to_text(some_manifest()), "m");
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(*read, some_manifest());
}

// Runs of today must be readable by those who come later.
TEST(Manifest, its_text_is_this) {
  Manifest manifest;
  manifest.state.step = 2;
  manifest.state.steps = 4;
  manifest.shards = {{{8, 0xab}, {{"model.a", {"F32", {2}}}}}};
  EXPECT_EQ(
      to_text(manifest),
      R"({"format":"atoll.checkpoint","shards":[{"bytes":8,"crc32c":"000000ab","tensors":{"model.a":{"dtype":"F32",)"
      R"("shape":[2]}}}],"state":{"bad_images":[],"bad_steps":0,"best_ap":-1.0,"best_step":-1,"category_ids":[],)"
      R"("category_names":[],"config":"","epoch":0,"metrics_bytes":0,"step":2,"steps":4,"train_images":0,"version":1},)"
      R"("version":1,"crc32c":"96bc1f3f"})"
      "\n");
}

TEST(Manifest, no_bit_of_it_can_change_and_nothing_can_be_cut_off) {
  const std::string whole = to_text(some_manifest());
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string altered = whole;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    EXPECT_EQ(manifest_from_text(altered, "m").error().code, ErrorCode::kCorrupt) << at;
    EXPECT_EQ(manifest_from_text(whole.substr(0, at), "m").error().code, ErrorCode::kCorrupt) << at;
  }
  EXPECT_THAT(error_of(whole + "\n"), HasSubstr("cut off or was altered"));
}

TEST(Manifest, one_that_cannot_be_is_refused_with_what_is_wrong) {
  const auto altered = [](const std::string& from, const std::string& to) {
    const std::string text = to_text(some_manifest());
    std::string json = text.substr(0, text.rfind(",\"crc32c\"")) + "}";
    const size_t at = json.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return error_of(sealed_manifest(json.replace(at, from.size(), to)));
  };
  EXPECT_THAT(altered("optimizer.a", "model.a"), HasSubstr("tensor model.a is in two shards"));
  EXPECT_THAT(altered("\"F32\"", "\"F33\""), HasSubstr("tensor model.a has an unknown dtype"));
  EXPECT_THAT(altered("[7,3]", "[7,-3]"), HasSubstr("the shape of tensor model.a"));
  EXPECT_THAT(altered("[7,3]", "[7,3.5]"), HasSubstr("the shape of tensor model.a"));
  EXPECT_THAT(altered("1000", "-1000"), HasSubstr("the length of a shard"));
  EXPECT_THAT(altered("deadbeef", "DEADBEEF"), HasSubstr("the checksum of a shard"));
  EXPECT_THAT(altered("\"step\":400", "\"step\":-40"), HasSubstr("a step below 0"));
  EXPECT_THAT(altered("12345", "-1"), HasSubstr("a length below 0"));
  EXPECT_THAT(altered("[0,7]", "[777]"), HasSubstr("categories"));
  EXPECT_THAT(altered("atoll.checkpoint", "atoll"), HasSubstr("not a checkpoint of atoll"));
  EXPECT_THAT(altered("\"version\":1}", "\"version\":2}"), HasSubstr("another version"));
  EXPECT_THAT(error_of(sealed_manifest("{\"format\":\"atoll.checkpoint\",\"version\":2}")),
              HasSubstr("another version"));
  EXPECT_THAT(error_of(sealed_manifest("[1}")), HasSubstr("no JSON object"));
  EXPECT_THAT(error_of(sealed_manifest(
                  R"({"format":"atoll.checkpoint","version":1,"state":{},"shards":[]})")),
              HasSubstr("its state is damaged"));
}

TEST(Manifest, keys_are_read_as_they_are_written) {
  for (const int64_t step : {int64_t{0}, int64_t{400}, int64_t{100'000'000'000}}) {
    const auto manifest = parse_checkpoint_key(manifest_key(step));
    ASSERT_TRUE(manifest);
    EXPECT_EQ(manifest->step, step);
    EXPECT_TRUE(manifest->manifest);
    const auto shard = parse_checkpoint_key(shard_key(step, 3, 100'000));
    ASSERT_TRUE(shard);
    EXPECT_EQ(shard->step, step);
    EXPECT_FALSE(shard->manifest || shard->single_file);
  }
  EXPECT_EQ(shard_key(400, 0, 4), "checkpoints/step-00000400.shard-00000-of-00004.safetensors");
  EXPECT_TRUE(parse_checkpoint_key("checkpoints/step-00000400.safetensors")->single_file);
  for (const char* other : {"checkpoints/notes.txt",
                            "checkpoints/step-.manifest.json",
                            "checkpoints/step--0000001.manifest.json",
                            "checkpoints/step-99999999999999999999.manifest.json",
                            "checkpoints/step-00000400.manifest.json.bak",
                            "checkpoints/step-00000400"}) {
    EXPECT_FALSE(parse_checkpoint_key(other)) << other;
  }
}

TEST(DivideByBytes, gives_each_part_about_the_same_and_everything_once) {
  EXPECT_THAT(divide_by_bytes(std::vector<uint64_t>{5, 1, 4, 2, 3, 3}, 3),
              ElementsAre(0, 0, 1, 1, 2, 2));
  EXPECT_THAT(divide_by_bytes(std::vector<uint64_t>{5, 5, 5}, 1), ElementsAre(0, 0, 0));
  EXPECT_THAT(divide_by_bytes({}, 4), ElementsAre());
  for (uint64_t round = 0; round < 200; ++round) {
    KeyedRandom random({round});
    std::vector<uint64_t> sizes(1 + random.below(60));
    for (auto& size : sizes) size = random.below(1000);
    const size_t parts = 1 + random.below(8);
    const auto part_of = divide_by_bytes(sizes, parts);
    ASSERT_EQ(part_of.size(), sizes.size());
    std::vector<uint64_t> filled(parts);
    for (size_t i = 0; i < sizes.size(); ++i) filled.at(part_of[i]) += sizes[i];
    // What is put last into the fullest part was put into the least full one.
    const uint64_t most = *std::ranges::max_element(filled);
    const uint64_t all = std::accumulate(sizes.begin(), sizes.end(), uint64_t{0});
    EXPECT_LE(most, all / parts + *std::ranges::max_element(sizes)) << round;
  }
}

}  // namespace
}  // namespace atl::train
