// A record of a results file while its mask is still text, and the two readers that make such
// records; internal to this room.
//
// Results files are large (200 MB for COCO's 5,000 images), and nearly all look alike. The scanner
// reads what nearly all of them have, in parallel from any number of places in the file, and gives
// up on everything else: other spellings of a string, polygons, whatever is malformed. The exact
// reader (results_json.cpp) then reads the file again, and finds what is wrong and where, or that
// nothing is. So whatever the scanner accepts, the exact reader accepts with the same records; the
// tests hold the two against each other.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/coco.h"
#include "eval/mask_text.h"
#include "eval/results_file.h"

namespace atl::eval::internal {

struct ResultRecord {
  int64_t image_id = 0;
  int64_t category_id = 0;
  double score = 0;
  std::array<double, 4> box = {};
  // The mask's compressed counts, somewhere else; escaped as in JSON, or not.
  const char* counts = nullptr;
  uint32_t counts_size = 0;
  bool escaped = false;
  bool has_box = false;
  bool has_mask = false;
  uint32_t height = 0;
  uint32_t width = 0;
  MaskExtent extent;
  // Of the ground truth, see ResultCheck.
  uint32_t image = 0;
  uint32_t category = kNoCategory;
  double area = 0;

  static constexpr uint32_t kNoCategory = 0xffffffff;
  std::string_view counts_text() const { return {counts, counts_size}; }
};

// Small enough that threads end together, large enough that a piece costs nothing.
constexpr size_t kPieceBytes = size_t{1} << 20;

// The file's records in order, in pieces; their counts point into `text`. nullopt: the exact reader
// must look at it.
using RecordLists = std::vector<std::vector<ResultRecord>>;
std::optional<RecordLists> scan_results(std::string_view text,
                                        int threads,
                                        size_t piece_bytes = kPieceBytes);

// Holds records against the ground truth and fills in what they lack, as pycocotools' loadRes does,
// which decides by the file's first record: with a box there, every record needs one and its area
// is w * h, for masks too; otherwise every record needs a mask, its area is the mask's, and a
// missing box is the mask's.
class ResultCheck {
 public:
  ResultCheck(const dataset::CocoDataset& ground_truth, BadResults bad_results, bool boxes_lead);

  // Whether the record stays. Sets image, category and area, and a missing box.
  Result<bool> accept(ResultRecord& record, size_t index, BadResultCounts& bad);
  // What becomes of a record with a problem: the error; or it is counted, and stays or not.
  // `scorable`: pycocotools takes it, though it cannot match.
  Result<bool> refuse(size_t index,
                      BadReason reason,
                      Error error,
                      BadResultCounts& bad,
                      bool scorable = false) const;

 private:
  // What the record lacks.
  void fill_in(ResultRecord& record) const;
  std::optional<uint32_t> image_of(int64_t id);
  uint32_t category_of(int64_t id) const;

  const dataset::CocoDataset& ground_truth_;
  BadResults bad_results_;
  bool boxes_lead_;
  std::vector<uint32_t> small_categories_;  // by id, where it is small
  int64_t last_id_ = 0;                     // neighbours are mostly of one image
  std::optional<uint32_t> last_image_;
};

struct ExactRecords {
  std::vector<ResultRecord> records;
  std::deque<std::string> counts;  // what the records' counts point to
};

// Every results file, one record after the other. Errors as ResultsFile::resolve().
Result<ExactRecords> read_results(std::string_view text,
                                  std::string_view name,
                                  const dataset::CocoDataset& ground_truth,
                                  BadResults bad_results,
                                  BadResultCounts& bad);

}  // namespace atl::eval::internal

struct atl::eval::ResultsFile::Impl {
  std::string_view text;
  std::string name;
  int threads = 1;
  bool scanned = false;
  internal::RecordLists lists;
  std::deque<std::string> counts;  // of what the exact reader read
  BadResultCounts bad;
  size_t size = 0;
};
