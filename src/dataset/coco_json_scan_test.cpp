// The quick way through a COCO JSON against the plain one, on texts of every sort.
#include <gtest/gtest.h>

#include <bit>

#include "dataset/coco_json_batch.h"
#include "dataset/coco_random_json.h"
#include "dataset/json_number.h"

namespace atl::dataset {
namespace {

using Mode = CocoDataset::Mode;

struct Outcome {
  std::string error;  // "" if it loads
  std::string json;
  std::vector<std::string> issues;
  friend bool operator==(const Outcome&, const Outcome&) = default;
  friend void PrintTo(const Outcome& outcome, std::ostream* out) {
    *out << outcome.error << '\n' << outcome.json;
    for (const std::string& issue : outcome.issues) *out << issue << '\n';
  }
};

Outcome outcome_of(std::string_view text, Mode mode, const JsonOptions& options) {
  CocoBuilder builder(mode);
  if (const auto read = read_coco_json(text, builder, options); !read) {
    return {read.error().to_string(), "", {}};
  }
  const CocoDataset data = builder.finish();
  return {"", to_json(data), {data.issues().begin(), data.issues().end()}};
}

// Every mode, kernel and size of piece gives what the plain way gives.
void expect_same_on_all_ways(std::string_view text) {
  for (const Mode mode : {Mode::kStrict, Mode::kLenient}) {
    const Outcome expected = outcome_of(text, mode, {.plain = true});
    for (const NumberKernel& kernel : number_kernels()) {
      for (const size_t piece_bytes : {size_t{1}, size_t{200}, size_t{3000}, size_t{4} << 20}) {
        const JsonOptions options{.threads = 3, .piece_bytes = piece_bytes, .kernel = &kernel};
        ASSERT_EQ(outcome_of(text, mode, options), expected)
            << kernel.name << ", pieces of " << piece_bytes << " bytes\n"
            << text;
      }
    }
  }
}

TEST(CocoJsonScan, pieces_and_kernels_give_what_one_record_after_the_other_gives) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    expect_same_on_all_ways(RandomJson(seed, 0).document());
  }
}

TEST(CocoJsonScan, bad_records_are_the_same_problems_in_the_same_order) {
  for (uint64_t seed = 1000; seed < 1060; ++seed) {
    expect_same_on_all_ways(RandomJson(seed, seed % 2 == 0 ? 1 : 20).document());
  }
}

TEST(CocoJsonScan, spoilt_texts_give_the_same_error_at_the_same_byte) {
  const std::string_view bytes = "\"\\,:[]{} 0-.e\n\xc3\x00x";
  for (uint64_t seed = 0; seed < 150; ++seed) {
    KeyedRandom random({7, seed});
    std::string text = RandomJson(seed, 0).document();
    for (uint64_t i = random.below(3); i < 3; ++i) {
      const size_t place = random.below(text.size());
      switch (random.below(4)) {
        case 0:
          text[place] = bytes[random.below(bytes.size())];
          break;
        case 1:
          text.erase(place, 1 + random.below(3));
          break;
        case 2:
          text.insert(place, 1, bytes[random.below(bytes.size())]);
          break;
        default:
          if (random.below(4) == 0) text.resize(place);
      }
    }
    expect_same_on_all_ways(text);
  }
}

// The scanner must take what COCO's own files have: if it gave up there, all would be right, and slow.
TEST(CocoJsonScan, the_forms_of_cocos_own_files_need_no_other_reader) {
  const std::string image =
      R"({"license": 3,"file_name": "000000391895.jpg","coco_url": "http://images.example.org/391895.jpg",)"
      R"("height": 360,"width": 640,"date_captured": "2013-11-14 11:18:45","id": 391895})";
  const std::string polygons =
      R"({"segmentation": [[239.97,260.24,222.04,270.49,199.84,253.41],[1.5, 2, 3.25, 4, 5, 6.0]],)"
      R"("area": 2765.1486500000005,"iscrowd": 0,"image_id": 558840,)"
      R"("bbox": [199.84,200.46,77.71,70.88],"category_id": 58,"id": 156})";
  const std::string crowd =
      R"({"segmentation": {"counts": [272,2,4,22],"size": [20,15]},"area": 24,"iscrowd": 1,)"
      R"("image_id": 448263,"bbox": [1,0,276,122],"category_id": 1,"id": 900100448263})";
  const std::string compressed =
      R"({"id": 1, "image_id": 2, "category_id": 3, "segmentation": {"size": [1, 300], "counts": "l\\0d0"}})";
  const std::string text = image + polygons + crowd + compressed + std::string(64, ' ');
  for (const NumberKernel& kernel : number_kernels()) {
    RecordScanner scanner(text, kernel);
    ScannedImage scanned;
    PackedAnnotation record;
    PackedShapes shapes;
    size_t at = scanner.image(0, scanned);
    EXPECT_EQ(at, image.size());
    EXPECT_EQ(scanned.file_name, "000000391895.jpg");
    at = scanner.annotation(image.size(), record, shapes);
    EXPECT_EQ(at, image.size() + polygons.size()) << kernel.name;
    EXPECT_EQ(record.part_count, 2U);
    EXPECT_EQ(shapes.polygons[0].type(), CoordinateType::kHundredths16);
    EXPECT_EQ(record.area, 2765.1486500000005);
    at = scanner.annotation(image.size() + polygons.size(), record, shapes);
    EXPECT_EQ(at, image.size() + polygons.size() + crowd.size());
    EXPECT_EQ(record.kind, SegmentationKind::kRle);
  }
}

TEST(NumberKernel, takes_what_two_decimals_can_say_and_nothing_else) {
  const std::string before(20, '[');
  const std::string after(200, ' ');
  for (const NumberKernel& kernel : number_kernels()) {
    std::vector<uint16_t> narrow(kMaxListNumbers + 64);
    std::vector<int32_t> wide(kMaxListNumbers + 64);
    const auto read = [&](const std::string& list) {
      const std::string text = before + list + after;
      auto result = kernel.read_hundredths(
          text.data() + before.size(), text.data() + text.size(), narrow.data(), wide.data());
      if (result.end != nullptr) {
        EXPECT_EQ(result.end - text.data() - 20, static_cast<ptrdiff_t>(list.find(']'))) << list;
      }
      return result;
    };
    for (const char* good :
         {"0,0]", "0.5, 1]", "1.25,100.10]", "123456.78, 0.01]", "655.35,655.36]"}) {
      const auto result = read(good);
      ASSERT_NE(result.end, nullptr) << kernel.name << ' ' << good;
      ASSERT_EQ(result.count, 2U);
    }
    EXPECT_EQ(wide[0], 65535);
    EXPECT_EQ(wide[1], 65536);
    EXPECT_EQ(narrow[0], 65535);
    EXPECT_TRUE(read("655.35,0]").narrow);
    EXPECT_FALSE(read("655.36,0]").narrow);
    for (const char* other : {"1]",
                              "]",
                              "1,]",
                              ",1]",
                              "1,,2]",
                              "1, ,2]",
                              "01,2]",
                              "00.5,2]",
                              "1.,2]",
                              ".5,2]",
                              "-1,2]",
                              "1e2,2]",
                              "1.234,2]",
                              "1.2.3,4]",
                              "1,2, 3]",
                              "1, 2,3]",
                              "1 ,2]",
                              "1,  2]",
                              " 1,2]",
                              "1,2 ]",
                              "1\n,2]",
                              "1,\"2\"]",
                              "1,2}",
                              "1234567,2]",
                              "1,[2]]",
                              "1/2,3]",
                              "1:2,3]",
                              "12345678901234567890,1]",
                              "1,1234567890.25]"}) {
      EXPECT_EQ(read(other).end, nullptr) << kernel.name << ' ' << other;
    }
    EXPECT_EQ(
        kernel.read_hundredths(before.data() + 20, before.data() + 20, narrow.data(), wide.data())
            .end,
        nullptr);
  }
}

TEST(NumberKernel, reads_every_number_of_long_lists) {
  for (const NumberKernel& kernel : number_kernels()) {
    std::vector<uint16_t> narrow(kMaxListNumbers + 64);
    std::vector<int32_t> wide(kMaxListNumbers + 64);
    for (uint64_t seed = 0; seed < 400; ++seed) {
      KeyedRandom random({seed});
      const char* comma = seed % 2 == 0 ? "," : ", ";
      const size_t count = seed == 0 ? kMaxListNumbers : 2 + random.below(seed < 300 ? 60 : 3000);
      std::string text(16, '[');
      std::vector<int32_t> expected;
      for (size_t i = 0; i < count; ++i) {
        const auto value =
            static_cast<int32_t>(random.below(uint64_t{1} << (1 + random.below(26))));
        expected.push_back(value);
        std::string number = fmt::format("{}.{:02}", value / 100, value % 100);
        // 12.00 is also 12.0 and 12.
        while (number.find('.') != std::string::npos && number.ends_with('0') &&
               random.below(3) > 0)
          number.pop_back();
        if (number.ends_with('.')) number.pop_back();
        text += (i > 0 ? comma : "") + number;
      }
      const size_t end = text.size();
      text += ']' + std::string(64, '7');
      const auto list = kernel.read_hundredths(
          text.data() + 16, text.data() + text.size(), narrow.data(), wide.data());
      ASSERT_EQ(list.end, text.data() + end) << kernel.name << ' ' << text;
      ASSERT_EQ(std::vector(wide.begin(), wide.begin() + static_cast<ptrdiff_t>(list.count)),
                expected);
      ASSERT_EQ(list.narrow, std::ranges::max(expected) <= 0xffff);
    }
  }
}

}  // namespace
}  // namespace atl::dataset
