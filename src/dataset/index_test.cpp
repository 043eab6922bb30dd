#include "dataset/index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "dataset/coco_builder.h"
#include "dataset/coco_random_json.h"
#include "storage/fake_store.h"
#include "storage/local_store.h"

namespace atl::dataset {
namespace {

namespace fs = std::filesystem;
using storage::FakeStore;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr const char* kKey = "annotations/train.json";

CocoDataset parsed(std::string_view text, CocoDataset::Mode mode = CocoDataset::Mode::kLenient) {
  auto data = CocoDataset::parse(text, "test.json", mode);
  EXPECT_TRUE(data) << data.error().to_string();
  return std::move(*data);
}

storage::Blob indexed(const CocoDataset& data, const IndexSource& source = {}) {
  FakeStore store;
  EXPECT_TRUE(write_index(data, source, store, "x"));
  return *store.get("x");
}

// Every public way to look at a dataset.
void expect_equal(const CocoDataset& a, const CocoDataset& b) {
  ASSERT_EQ(a.images().size(), b.images().size());
  for (size_t i = 0; i < a.images().size(); ++i) {
    const Image left = a.images()[i];
    const Image right = b.images()[i];
    EXPECT_EQ(std::tie(left.id, left.width, left.height, left.file_name),
              std::tie(right.id, right.width, right.height, right.file_name));
    EXPECT_EQ(b.image_index(left.id), i);
    EXPECT_EQ(b.image_index(left.id + 1), a.image_index(left.id + 1));
    EXPECT_EQ(a.annotations_of(i).size(), b.annotations_of(i).size());
  }
  EXPECT_TRUE(std::ranges::equal(a.categories(), b.categories()));
  for (int64_t id = -1; id < 10; ++id) EXPECT_EQ(a.label_of(id), b.label_of(id));
  ASSERT_EQ(a.annotations().size(), b.annotations().size());
  for (size_t i = 0; i < a.annotations().size(); ++i) {
    const Annotation& left = a.annotations()[i];
    const Annotation& right = b.annotations()[i];
    EXPECT_EQ(std::memcmp(&left, &right, sizeof left), 0) << left.id;
    for (uint32_t part = 0; part < left.part_count; ++part) {
      const uint32_t index = left.first_part + part;
      if (left.kind == SegmentationKind::kRle) {
        EXPECT_EQ(a.rle(index), b.rle(index));
        continue;
      }
      std::vector<double> xy;
      std::vector<double> other;
      a.polygon(index).append_to(xy);
      b.polygon(index).append_to(other);
      ASSERT_EQ(xy.size(), other.size());
      EXPECT_EQ(std::memcmp(xy.data(), other.data(), xy.size() * sizeof xy[0]), 0) << left.id;
    }
    EXPECT_EQ(a.mask_of(left), b.mask_of(right));
    EXPECT_EQ(a.mask_of(left, 7, 13, true), b.mask_of(right, 7, 13, true));
  }
  EXPECT_EQ(to_json(a), to_json(b));
}

TEST(Index, holds_what_the_parser_reads) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const CocoDataset data = parsed(RandomJson(seed, 0).document());
    const storage::Blob file = indexed(data, {1, -2, 3});
    EXPECT_EQ(file.size(), index_size_bytes(data));
    const auto opened = open_index(file, "x");
    ASSERT_TRUE(opened) << opened.error().to_string();
    EXPECT_EQ(opened->source, (IndexSource{1, -2, 3}));
    expect_equal(data, opened->dataset);
    EXPECT_TRUE(verify_index(file, "x"));
  }
}

TEST(Index, of_an_empty_dataset_is_an_index) {
  const auto opened = open_index(indexed(CocoBuilder().finish()), "x");
  ASSERT_TRUE(opened) << opened.error().to_string();
  EXPECT_TRUE(opened->dataset.images().empty());
  EXPECT_TRUE(opened->dataset.annotations().empty());
}

TEST(Index, the_same_dataset_gives_the_same_bytes) {
  const std::string text = RandomJson(1, 0).document();
  EXPECT_EQ(indexed(parsed(text)).text(), indexed(parsed(text)).text());
}

TEST(Index, may_lie_at_any_address) {
  const CocoDataset data = parsed(RandomJson(2, 0).document());
  const storage::Blob file = indexed(data);
  std::vector<std::byte> shifted(file.size() + 1);
  std::memcpy(shifted.data() + 1, file.bytes().data(), file.size());
  const storage::Blob blob(nullptr, std::span(shifted).subspan(1));
  const auto opened = open_index(blob, "x");
  ASSERT_TRUE(opened) << opened.error().to_string();
  expect_equal(data, opened->dataset);
}

TEST(Index, no_cut_file_opens) {
  const storage::Blob file = indexed(parsed(RandomJson(3, 0).document()));
  for (size_t size = 0; size < file.size(); size += size < 400 ? 1 : 97) {
    const auto opened = open_index(storage::Blob(nullptr, file.bytes().first(size)), "cut");
    ASSERT_FALSE(opened) << size;
    EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(opened.error().to_string(), StartsWith("cut: not a whole index: "));
  }
}

// Opening refuses a damaged index, or what it gives can be used; the check on demand finds all.
TEST(Index, a_flipped_byte_is_found_on_demand_and_never_dangerous) {
  const storage::Blob file = indexed(parsed(RandomJson(4, 0).document()));
  for (size_t place = 0; place < file.size(); ++place) {
    std::vector<std::byte> bytes(file.bytes().begin(), file.bytes().end());
    bytes[place] ^= std::byte{0x81};
    const storage::Blob damaged(std::move(bytes));
    if (const auto opened = open_index(damaged, "x")) {
      for (const Annotation& annotation : opened->dataset.annotations()) {
        opened->dataset.mask_of(annotation);
      }
      const std::string_view untouched = file.text();
      // Padding between the sections belongs to none.
      if (untouched[place] == '\0' && verify_index(damaged, "x")) continue;
    }
    EXPECT_FALSE(verify_index(damaged, "x")) << place;
  }
}

TEST(Index, another_version_is_called_so) {
  const storage::Blob file = indexed(CocoBuilder().finish());
  std::vector<std::byte> bytes(file.bytes().begin(), file.bytes().end());
  bytes[8] = std::byte{9};
  const auto opened = open_index(storage::Blob(std::move(bytes)), "x");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(opened.error().to_string(), HasSubstr("version 9"));
}

class BucketLikeStore : public FakeStore {
 public:
  std::string uri() const override { return "s3://bucket/coco"; }
};

class OpenAnnotations : public ::testing::Test {
 protected:
  OpenAnnotations() {
    std::string name = (fs::temp_directory_path() / "atoll-index-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    options_.cache_folder = folder_ / "cache";
    options_.index_from_bytes = 0;
    options_.note = [this](const std::string& note) { notes_.push_back(note); };
  }
  ~OpenAnnotations() override { fs::remove_all(folder_); }

  void put(uint64_t seed) {
    text_ = to_json(parsed(RandomJson(seed, 0).document()));
    ASSERT_TRUE(storage::put_text(store_, kKey, text_));
  }
  void expect_opens() {
    const auto opened = open_annotations(store_, kKey, options_);
    ASSERT_TRUE(opened) << opened.error().to_string();
    expect_equal(parsed(text_), *opened);
  }
  IndexBuild build(std::string_view key) {
    const auto built = build_index(store_, kKey, store_, key);
    EXPECT_TRUE(built) << built.error().to_string();
    return *built;
  }
  // Whether the JSON itself was read by the last call of `work`.
  template <typename Work>
  bool reads_json(Work work) {
    const size_t before = store_.calls().size();
    work();
    const auto calls = store_.calls();
    return std::find(calls.begin() + static_cast<ptrdiff_t>(before),
                     calls.end(),
                     std::string("get ") + kKey) != calls.end();
  }
  size_t cached_files() const {
    if (!fs::exists(options_.cache_folder)) return 0;
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(options_.cache_folder), fs::directory_iterator()));
  }

  fs::path folder_;
  FakeStore store_;
  OpenAnnotationsOptions options_;
  std::string text_;
  std::vector<std::string> notes_;
  const std::string beside_ = std::string(kKey) + std::string(kIndexSuffix);
};

TEST_F(OpenAnnotations, a_small_json_is_read_and_leaves_nothing_behind) {
  put(1);
  options_.index_from_bytes = text_.size() + 1;
  expect_opens();
  EXPECT_EQ(cached_files(), 0U);
}

TEST_F(OpenAnnotations, a_large_json_is_read_once_and_then_comes_from_the_cache) {
  put(1);
  EXPECT_TRUE(reads_json([&] { expect_opens(); }));
  EXPECT_EQ(cached_files(), 1U);
  EXPECT_FALSE(reads_json([&] { expect_opens(); }));
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(OpenAnnotations, a_changed_json_is_read_again_and_its_index_replaced) {
  put(1);
  expect_opens();
  put(2);
  expect_opens();
  EXPECT_EQ(cached_files(), 1U);
  EXPECT_FALSE(reads_json([&] { expect_opens(); }));
}

TEST_F(OpenAnnotations, the_index_beside_the_json_goes_before_the_cache) {
  put(1);
  EXPECT_FALSE(build(beside_).was_valid);
  EXPECT_FALSE(reads_json([&] { expect_opens(); }));
  EXPECT_EQ(cached_files(), 0U);
}

TEST_F(OpenAnnotations, a_stale_index_beside_the_json_is_passed_over_with_a_note) {
  put(1);
  build(beside_);
  put(2);
  expect_opens();
  EXPECT_THAT(notes_, ElementsAre(AllOf(HasSubstr(beside_), HasSubstr("the JSON has changed"))));
}

TEST_F(OpenAnnotations, a_json_written_again_with_the_same_bytes_keeps_its_index) {
  put(1);
  build(beside_);
  ASSERT_TRUE(storage::put_text(store_, kKey, text_));
  expect_opens();
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(OpenAnnotations, an_index_of_records_is_none_of_a_json) {
  put(1);
  const auto json = store_.head(kKey).value();
  const IndexSource source{json.size_bytes,
                           std::chrono::nanoseconds(json.modified.time_since_epoch()).count(),
                           hash_of(text_)};
  ASSERT_TRUE(write_index(CocoBuilder().finish(), IndexedRecords(), source, store_, beside_));
  ASSERT_TRUE(open_index(*store_.get(beside_), "x")->records);
  expect_opens();
  EXPECT_FALSE(build(beside_).was_valid);
}

TEST_F(OpenAnnotations, a_damaged_index_is_passed_over_with_a_note) {
  put(1);
  ASSERT_TRUE(storage::put_text(store_, beside_, "no index"));
  expect_opens();
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("not a whole index")));
}

TEST_F(OpenAnnotations, a_cache_that_cannot_be_written_costs_a_note_only) {
  put(1);
  std::ofstream(options_.cache_folder) << "a file";
  expect_opens();
  EXPECT_THAT(notes_, ElementsAre(HasSubstr(options_.cache_folder)));
}

TEST_F(OpenAnnotations, what_a_lenient_load_leaves_out_is_not_hidden_in_an_index) {
  text_ = R"({"images": [], "categories": [{"id": 1}], "annotations": []})";
  ASSERT_TRUE(storage::put_text(store_, kKey, text_));
  EXPECT_FALSE(open_annotations(store_, kKey, options_));
  options_.mode = CocoDataset::Mode::kLenient;
  for (int time = 0; time < 2; ++time) {
    const auto opened = open_annotations(store_, kKey, options_);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->issue_count(), 1U);
  }
  EXPECT_EQ(cached_files(), 0U);
}

TEST_F(OpenAnnotations, errors_name_the_file) {
  EXPECT_THAT(open_annotations(store_, kKey, options_).error().to_string(), HasSubstr(kKey));
  ASSERT_TRUE(storage::put_text(store_, kKey, "{"));
  EXPECT_THAT(open_annotations(store_, kKey, options_).error().to_string(),
              AllOf(HasSubstr(kKey), HasSubstr("malformed JSON")));
}

TEST_F(OpenAnnotations, an_index_that_is_up_to_date_is_left_alone) {
  put(1);
  EXPECT_FALSE(build(beside_).was_valid);
  const IndexBuild again = build(beside_);
  EXPECT_TRUE(again.was_valid);
  EXPECT_EQ(again.annotations, parsed(text_).annotations().size());
  put(2);
  EXPECT_FALSE(build(beside_).was_valid);
}

TEST_F(OpenAnnotations, a_damaged_section_is_made_again) {
  put(1);
  build(beside_);
  const auto file = store_.get(beside_);
  std::string bytes(file->text());
  bytes.back() ^= 1;
  ASSERT_TRUE(storage::put_text(store_, beside_, bytes));
  EXPECT_FALSE(build(beside_).was_valid);
}

TEST_F(OpenAnnotations, of_a_bucket_the_cached_index_is_known_by_the_version) {
  BucketLikeStore bucket;
  ASSERT_TRUE(storage::put_text(bucket, kKey, to_json(parsed(RandomJson(1, 0).document()))));
  ASSERT_TRUE(open_annotations(bucket, kKey, options_));
  ASSERT_EQ(cached_files(), 1U);
  const size_t calls = bucket.calls().size();
  ASSERT_TRUE(open_annotations(bucket, kKey, options_));
  EXPECT_EQ(bucket.calls().size() - calls, 2U);  // head, and whether an index lies beside
  // Another version: read anew, and the index of the old one is gone.
  const std::string newer = to_json(parsed(RandomJson(2, 0).document()));
  ASSERT_TRUE(storage::put_text(bucket, kKey, newer));
  const auto opened = open_annotations(bucket, kKey, options_);
  ASSERT_TRUE(opened);
  expect_equal(parsed(newer), *opened);
  EXPECT_EQ(cached_files(), 1U);
}

TEST(CachedIndexKey, is_one_for_one_file_however_it_is_named) {
  const storage::LocalStore relative("some/where");
  const storage::LocalStore absolute((fs::current_path() / "some/./where/").string());
  const auto json = [](std::string key, std::string etag = {}) {
    return storage::ObjectInfo{.key = std::move(key), .etag = std::move(etag)};
  };
  const std::string key = cached_index_key(relative, json("annotations/a.json", "1"));
  EXPECT_EQ(key, cached_index_key(absolute, json("annotations/a.json", "2")));
  EXPECT_NE(key, cached_index_key(relative, json("annotations/b.json")));
  EXPECT_THAT(key, StartsWith("a.json-"));
  EXPECT_LE(cached_index_key(relative, json(std::string(250, 'x'))).size(), 255U);
  EXPECT_NE(cached_index_key(BucketLikeStore(), json("a", "1")),
            cached_index_key(BucketLikeStore(), json("a", "2")));
}

}  // namespace
}  // namespace atl::dataset
