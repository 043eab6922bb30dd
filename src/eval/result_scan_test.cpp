// The scanner and the exact reader must be one: what the scanner accepts, the exact reader accepts
// with the same records; what it does not, it leaves to it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/keyed_random.h"
#include "dataset/rle.h"
#include "eval/eval.h"
#include "eval/mask_text.h"
#include "eval/result_record.h"

namespace atl::eval::internal {
namespace {

using dataset::Rle;

Rle random_mask(KeyedRandom& random, uint32_t height, uint32_t width) {
  std::vector<uint8_t> bitmap(size_t{height} * width);
  // Runs of a length that differs from mask to mask.
  const uint64_t length = 1 + random.below(2 * height);
  uint8_t value = 0;
  for (auto& pixel : bitmap) {
    if (random.below(length) == 0) value = static_cast<uint8_t>(1 - value);
    pixel = value;
  }
  return dataset::rle_from_bitmap(bitmap, height, width);
}

void expect_same_mask(std::string_view text, uint32_t height, uint32_t width) {
  MaskTextReader reader;
  const auto fast = reader.read(text, false, height, width);
  const auto exact = dataset::rle_from_string(text, height, width);
  ASSERT_EQ(fast.has_value(), exact.has_value()) << text;
  if (!fast) return;
  EXPECT_EQ(std::vector<uint32_t>(fast->begin(), fast->end()), exact->counts) << text;
  const MaskExtent extent = mask_extent(*fast, height, width);
  const std::array<double, 4> box = {static_cast<double>(extent.left),
                                     static_cast<double>(extent.top),
                                     static_cast<double>(extent.right - extent.left),
                                     static_cast<double>(extent.bottom - extent.top)};
  EXPECT_EQ(box, dataset::rle_bounding_box(*exact)) << text;
  EXPECT_EQ(extent.area, dataset::rle_area(*exact)) << text;
}

TEST(MaskText, gives_the_counts_area_and_box_of_the_plain_reader) {
  KeyedRandom random({11});
  for (int i = 0; i < 400; ++i) {
    const auto height = static_cast<uint32_t>(1 + random.below(300));
    const auto width = static_cast<uint32_t>(1 + random.below(300));
    expect_same_mask(dataset::rle_to_string(random_mask(random, height, width)), height, width);
  }
  expect_same_mask("", 0, 5);
  expect_same_mask("0", 0, 0);
}

TEST(MaskText, refuses_exactly_what_the_plain_reader_refuses) {
  KeyedRandom random({12});
  size_t accepted = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto height = static_cast<uint32_t>(1 + random.below(90));
    const auto width = static_cast<uint32_t>(1 + random.below(90));
    std::string text = dataset::rle_to_string(random_mask(random, height, width));
    for (auto changes = random.below(3); changes > 0; --changes) {
      const size_t at = random.below(text.size());
      switch (random.below(4)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text[at] = static_cast<char>('0' + random.below(64));
          break;
        case 2:
          text.erase(at, 1);
          break;
        default:
          text.insert(at, 1 + random.below(9), static_cast<char>('P' + random.below(32)));
      }
      if (text.empty()) break;
    }
    accepted += dataset::rle_from_string(text, height, width).has_value() ? 1 : 0;
    expect_same_mask(text, height, width);
  }
  EXPECT_GT(accepted, 1000U);
  EXPECT_LT(accepted, 3000U);
  // Counts up to the largest, and one more.
  for (const auto& counts : {std::vector<uint32_t>{0xffffffff},
                             {0xfffffffe, 1},
                             {0, 0xffffffff},
                             {0, 0, 0, 0xffffffff, 0, 0},
                             {1, 0, 0xfffffffd, 1}}) {
    expect_same_mask(dataset::rle_to_string(Rle{0xffffffff, 1, counts}), 0xffffffff, 1);
    expect_same_mask(dataset::rle_to_string(Rle{1, 0xffffffff, counts}), 1, 0xffffffff);
  }
  expect_same_mask("PPPPPP4", 1, 1);
  expect_same_mask("oooooo0", 0xffffffff, 1);
  expect_same_mask("1", 0xffffffff, 2);
}

TEST(MaskText, only_a_backslash_is_escaped) {
  MaskTextReader reader;
  const auto counts = reader.read(R"(\\11b1)", true, 95, 1);
  ASSERT_TRUE(counts);
  EXPECT_EQ(std::vector<uint32_t>(counts->begin(), counts->end()),
            (std::vector<uint32_t>{44, 1, 50}));
  EXPECT_FALSE(reader.read(R"(\\11b1)", false, 95, 1));
  EXPECT_FALSE(reader.read(R"(\/11b1)", true, 95, 1));
  EXPECT_FALSE(reader.read(R"(11b1\)", true, 95, 1));
}

TEST(MaskText, common_pixels_are_those_of_the_plain_runs) {
  KeyedRandom random({13});
  for (int i = 0; i < 200; ++i) {
    const auto height = static_cast<uint32_t>(1 + random.below(60));
    const auto width = static_cast<uint32_t>(1 + random.below(60));
    const Rle a = random_mask(random, height, width);
    const Rle b = random_mask(random, height, width);
    std::vector<MaskRun> left, right;
    mask_runs(a.counts, left);
    mask_runs(b.counts, right);
    EXPECT_EQ(common_pixels(left, right), dataset::rle_intersection_area(a, b));
  }
}

// ---- files

const dataset::CocoDataset& truth() {
  static const auto dataset = dataset::CocoDataset::parse(R"({
    "images": [{"id": 0, "width": 6, "height": 4, "file_name": "a"},
               {"id": 7, "width": 20, "height": 20, "file_name": "b"}],
    "categories": [{"id": 1, "name": "disc"}, {"id": 5000, "name": "star"}], "annotations": []})",
                                                          "truth.json")
                                  .value();
  return dataset;
}

std::string quoted(const Rle& mask) {
  std::string text;
  for (const char c : dataset::rle_to_string(mask)) text += c == '\\' ? "\\\\" : std::string(1, c);
  return '"' + text + '"';
}

// A file as Python writes it, with boxes, masks or both.
std::string random_file(KeyedRandom& random) {
  const bool boxes = random.below(3) != 0;
  const bool masks = !boxes || random.below(3) != 0;
  const char* const newline = random.below(3) == 0 ? "\n " : "";
  std::string text = "[";
  for (auto left = 1 + random.below(12); left > 0; --left) {
    const bool second = random.below(2) == 0;
    const uint32_t height = second ? 20 : 4;
    const uint32_t width = second ? 20 : 6;
    text += fmt::format(R"({}{}{{"image_id": {}, "category_id": {}, )",
                        text.size() > 1 ? ", " : "",
                        newline,
                        second ? 7 : 0,
                        random.below(4) == 0 ? 5000 : 1);
    if (random.below(8) == 0) text += R"("id": 17, "names": ["a", {"b": null}], "ok": true, )";
    if (boxes) {
      text += fmt::format(R"("bbox": [{}, {}, {}, {:.2f}], )",
                          random.uniform(-3, 20),
                          random.below(20),
                          static_cast<double>(static_cast<float>(random.uniform(0, 20))),
                          random.uniform(0, 20));
    }
    if (masks) {
      text += fmt::format(R"("segmentation": {{"size": [{}, {}], "counts": {}}}, )",
                          height,
                          width,
                          quoted(random_mask(random, height, width)));
    }
    text += fmt::format(R"("score": {}}})", random.uniform());
  }
  return text + "]";
}

// What a file gives, as text: its records, or its error.
std::string outcome(const RecordLists& lists) {
  std::string text;
  MaskTextReader masks;
  for (const auto& list : lists) {
    for (const ResultRecord& record : list) {
      text += fmt::format("{} {} {} {} {} {}\n",
                          record.image_id,
                          record.category_id,
                          record.score,
                          fmt::join(record.box, " "),
                          record.area,
                          record.has_mask);
      if (!record.has_mask) continue;
      const auto counts =
          masks.read(record.counts_text(), record.escaped, record.height, record.width);
      text += fmt::format(
          "{} {} {}\n",
          record.height,
          record.width,
          counts ? fmt::join(*counts, " ") : fmt::join(std::span<const uint32_t>(), "?"));
      text += fmt::format("{} {} {} {} {}\n",
                          record.extent.area,
                          record.extent.left,
                          record.extent.top,
                          record.extent.right,
                          record.extent.bottom);
    }
  }
  return text;
}

struct Read {
  bool scanned = false;
  std::string text;
  BadResultCounts bad;
};

Read read_exactly(const std::string& file, BadResults bad_results) {
  Read read;
  auto records = read_results(file, "dt.json", truth(), bad_results, read.bad);
  read.text = records ? outcome({std::move(records->records)}) : records.error().to_string();
  return read;
}

// As ResultsFile::resolve, but in small pieces.
Read read_by_scanning(const std::string& file, BadResults bad_results, size_t piece_bytes) {
  Read read;
  auto lists = scan_results(file, 2, piece_bytes);
  if (!lists) return read;
  read.scanned = true;
  ResultCheck check(truth(), bad_results, (*lists)[0][0].has_box);
  size_t index = 0;
  for (auto& list : *lists) {
    std::vector<ResultRecord> kept;
    for (ResultRecord& record : list) {
      const auto stays = check.accept(record, index++, read.bad);
      if (!stays) {
        read.text = "dt.json: " + stays.error().to_string();
        return read;
      }
      if (*stays) kept.push_back(record);
    }
    list = std::move(kept);
  }
  read.text = outcome(*lists);
  return read;
}

void expect_one_reading(const std::string& file, bool must_scan) {
  for (const auto bad_results :
       {BadResults::kRefuse, BadResults::kLeaveOut, BadResults::kAsPycocotools}) {
    const Read exact = read_exactly(file, bad_results);
    for (const size_t piece_bytes : {size_t{40}, size_t{300}, kPieceBytes}) {
      const Read fast = read_by_scanning(file, bad_results, piece_bytes);
      ASSERT_TRUE(fast.scanned || !must_scan) << file;
      if (!fast.scanned) continue;
      ASSERT_EQ(fast.text, exact.text) << file;
      for (size_t reason = 0; reason < kBadReasonCount; ++reason) {
        ASSERT_EQ(fast.bad[reason].count, exact.bad[reason].count) << file;
        ASSERT_EQ(fast.bad[reason].first, exact.bad[reason].first) << file;
      }
    }
  }
}

TEST(ResultScan, reads_ordinary_files_as_the_exact_reader_does) {
  KeyedRandom random({21});
  for (int i = 0; i < 300; ++i) expect_one_reading(random_file(random), true);
}

TEST(ResultScan, never_accepts_what_the_exact_reader_refuses_or_reads_otherwise) {
  constexpr std::string_view kBytes = R"([]{}",:\0123456789.-+eE tfnulrasdizeco)";
  KeyedRandom random({22});
  size_t scanned = 0;
  for (int i = 0; i < 6000; ++i) {
    std::string file = random_file(random);
    for (auto changes = 1 + random.below(2); changes > 0; --changes) {
      const size_t at = random.below(file.size());
      const char byte = random.below(10) == 0 ? static_cast<char>(random.below(256))
                                              : kBytes[random.below(kBytes.size())];
      switch (random.below(5)) {
        case 0:
          file.erase(at, 1);
          break;
        case 1:
          file.insert(at, 1, byte);
          break;
        case 2:
          file.resize(std::max<size_t>(at, 1));
          break;
        case 3: {  // a piece of it twice
          const size_t length = random.below(60);
          file.insert(at, file.substr(random.below(file.size()), length));
          break;
        }
        default:
          file[at] = byte;
      }
    }
    scanned += scan_results(file, 1).has_value() ? 1 : 0;
    expect_one_reading(file, false);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(scanned, 600U);  // or nothing was compared
  EXPECT_LT(scanned, 5400U);
}

TEST(ResultScan, a_record_that_only_looks_like_one_is_no_place_to_begin) {
  const std::string record =
      R"({"image_id": 0, "category_id": 1, "score": 0.5, "bbox": [0, 0, 1, 1]})";
  // Inside a string, and inside a list that is skipped.
  for (const std::string& decoy : {"\"}, {" + std::string(80, 'x') + "\"",
                                   "[" + record + ", " + record + ", " + record + "]"}) {
    std::string file = "[";
    for (int i = 0; i < 20; ++i) {
      file +=
          (i == 0 ? "" : ", ") + record.substr(0, record.size() - 1) + R"(, "x": )" + decoy + "}";
    }
    file += "]";
    expect_one_reading(file, false);
    EXPECT_TRUE(scan_results(file, 2));
    // Wherever the pieces fall, a wrong beginning is noticed.
    for (size_t piece_bytes = 1; piece_bytes < 400; piece_bytes += 3) {
      const auto lists = scan_results(file, 2, piece_bytes);
      if (!lists) continue;
      size_t records = 0;
      for (const auto& list : *lists) records += list.size();
      EXPECT_EQ(records, 20U);
    }
  }
}

TEST(ResultScan, results_bad_counts_are_counted_by_reason_with_the_first) {
  const std::string file = R"([
    {"image_id": 0, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2]},
    {"image_id": 9, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2]},
    {"image_id": 0, "category_id": 3, "score": 1, "bbox": [0, 0, 2, 2]},
    {"image_id": 9, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2]},
    {"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, -2, 2]},
    {"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2],
     "segmentation": {"size": [20, 21], "counts": "T="}},
    {"image_id": 7, "category_id": 5000, "score": 1, "bbox": [0, 0, 2, 2]}])";
  expect_one_reading(file, true);
  ResultsFile lenient(file, "dt.json");
  ASSERT_TRUE(lenient.resolve(truth(), BadResults::kLeaveOut));
  EXPECT_EQ(lenient.size(), 2U);
  const auto& bad = lenient.bad();
  EXPECT_EQ(bad[static_cast<size_t>(BadReason::kImage)].count, 2U);
  EXPECT_EQ(bad[static_cast<size_t>(BadReason::kImage)].first,
            "record 1: image_id 9 is not in the ground truth");
  EXPECT_EQ(bad[static_cast<size_t>(BadReason::kCategory)].count, 1U);
  EXPECT_EQ(bad[static_cast<size_t>(BadReason::kBox)].first,
            "record 4: bbox is [0, 0, -2, 2]: a size cannot be negative (image_id 7)");
  EXPECT_EQ(bad[static_cast<size_t>(BadReason::kMask)].count, 1U);
}

TEST(ResultScan, what_python_writes_for_no_number_is_refused_with_record_and_image) {
  const auto error_of = [](const std::string& file) {
    ResultsFile results(file, "dt.json");
    const auto resolved = results.resolve(truth(), BadResults::kRefuse);
    return resolved ? "none" : resolved.error().to_string();
  };
  const std::string good = R"({"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2]})";
  const auto expect_error = [&](const std::string& record, std::string_view part) {
    const std::string error = error_of("[" + good + ", " + record + ", " + good + "]");
    EXPECT_NE(error.find(part), std::string::npos) << error;
    // The others stay.
    ResultsFile lenient("[" + good + ", " + record + ", " + good + "]", "dt.json");
    const std::string file = "[" + good + ", " + record + ", " + good + "]";
    ResultsFile rest(file, "dt.json");
    const auto resolved = rest.resolve(truth(), BadResults::kLeaveOut);
    EXPECT_TRUE(resolved) << resolved.error().to_string();
    EXPECT_EQ(rest.size(), 2U) << record;
  };
  expect_error(R"({"image_id": 7, "category_id": 1, "score": NaN, "bbox": [0, 0, 2, 2]})",
               "dt.json: record 1: score is NaN (image_id 7)");
  expect_error(R"({"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, -Infinity, 2, 2]})",
               "record 1: a number of bbox is -Infinity (image_id 7)");
  expect_error(R"({"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, 2, -2]})",
               "record 1: bbox is [0, 0, 2, -2]: a size cannot be negative (image_id 7)");
  expect_error(R"({"image_id": 7, "category_id": 8, "score": 1, "bbox": [0, 0, 2, 2]})",
               "record 1: category_id 8 is not in the ground truth (image_id 7)");
  expect_error(R"({"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2],
                   "segmentation": {"size": [20, 20], "counts": "T<"}})",
               "record 1: mask's runs sum to 388 pixels");
  expect_error(R"({"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2],
                   "segmentation": {"size": [4, 6], "counts": "h0"}})",
               "record 1: its mask is 4 x 6 (height x width), the image 20 x 20 (image_id 7)");
  expect_error(R"({"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2],
                   "segmentation": {"size": [20, 20], "counts": "oooooooo0"}})",
               "record 1: mask's counts, character 0: a number that is too long (image_id 7)");
  expect_error(R"({"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, 2, 2],
                   "segmentation": [[1, 2, 3, 4]]})",
               "record 1: a polygon of 4 numbers");
}

}  // namespace
}  // namespace atl::eval::internal
