// The exact reader of results files: any COCO results file, one record after the other, with
// simdjson, and what is wrong where. result_scan.cpp is the fast one, for what nearly all files
// hold.
//
// simdjson throws on malformed JSON; read_results catches it and says where.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "dataset/json_number.h"
#include "eval/result_record.h"

namespace atl::eval::internal {
namespace {

namespace json = simdjson::ondemand;
using dataset::Rle;

tl::unexpected<Error> bad(std::string message, std::string hint = {}) {
  return fail(ErrorCode::kInvalidInput, std::move(message), std::move(hint));
}

// Runs, sides and ids: whole numbers, also where a writer put 17.0.
int64_t integer_of(json::value value) {
  int64_t whole = 0;
  if (value.get_int64().get(whole) == simdjson::SUCCESS) return whole;
  const auto real = dataset::json_number(value.raw_json_token());
  constexpr double kLimit = 0x1p63;
  if (!real || *real != std::floor(*real) || *real < -kLimit || *real >= kLimit) {
    throw simdjson::simdjson_error(simdjson::INCORRECT_TYPE);
  }
  return static_cast<int64_t>(*real);
}

Result<uint32_t> unsigned_of(json::value value, std::string_view what) {
  const int64_t number = integer_of(value);
  if (number < 0 || number > int64_t{0xffffffff}) {
    return bad(fmt::format("{} {} is out of range", what, number));
  }
  return static_cast<uint32_t>(number);
}

Result<double> real_of(json::value value, std::string_view what) {
  const std::string_view token = value.raw_json_token();
  if (const auto number = dataset::json_number(token)) return *number;
  // Python writes what JSON does not have, and others write null for it.
  for (const std::string_view name : {"NaN", "Infinity", "-Infinity", "null"}) {
    if (token.starts_with(name)) return bad(fmt::format("{} is {}", what, name));
  }
  throw simdjson::simdjson_error(simdjson::INCORRECT_TYPE);
}

class ResultsReader {
 public:
  ResultsReader(const dataset::CocoDataset& ground_truth,
                BadResults bad_results,
                BadResultCounts& bad)
      : ground_truth_(ground_truth), bad_results_(bad_results), bad_counts_(bad) {}

  Result<ExactRecords> read(json::document& document);
  // How many records were begun.
  size_t begun() const { return begun_; }

 private:
  Result<void> read_record(json::object object);
  Result<void> read_box(json::value value);
  Result<void> read_segmentation(json::value value);
  Result<void> read_rle(json::object object);
  Result<void> draw_polygons();
  void set_mask(const Rle& mask);

  const dataset::CocoDataset& ground_truth_;
  BadResults bad_results_;
  BadResultCounts& bad_counts_;
  size_t begun_ = 0;
  ExactRecords result_;

  // Of the record being read.
  ResultRecord record_;
  BadReason reason_ = BadReason::kOther;  // what it would be left out for
  bool has_image_ = false;
  std::vector<std::vector<double>> polygons_;  // drawn when the image is known
};

Result<void> ResultsReader::read_box(json::value value) {
  reason_ = BadReason::kBox;
  size_t count = 0;
  for (json::value number : value.get_array()) {
    const double coordinate = ATOLL_TRY(real_of(number, "a number of bbox"));
    if (count < 4) record_.box[count] = coordinate;
    ++count;
  }
  if (count != 0 && count != 4) return bad(fmt::format("bbox has {} numbers instead of 4", count));
  record_.has_box = count == 4;
  reason_ = BadReason::kOther;
  return {};
}

void ResultsReader::set_mask(const Rle& mask) {
  const std::string& text = result_.counts.emplace_back(dataset::rle_to_string(mask));
  record_.counts = text.data();
  record_.counts_size = static_cast<uint32_t>(text.size());
  record_.height = mask.height;
  record_.width = mask.width;
  record_.extent = mask_extent(mask.counts, mask.height, mask.width);
  record_.has_mask = true;
}

Result<void> ResultsReader::read_rle(json::object object) {
  std::vector<uint32_t> size;
  std::optional<std::string_view> text;
  std::optional<std::vector<uint32_t>> counts;
  for (auto field : object) {
    const std::string_view key = field.unescaped_key();
    if (key == "size") {
      for (json::value side : field.value().get_array()) {
        size.push_back(ATOLL_TRY(unsigned_of(side, "side")));
      }
    } else if (key == "counts") {
      json::value value = field.value();
      if (value.type() == json::json_type::string) {
        text = value.get_string();
        continue;
      }
      counts.emplace();
      for (json::value run : value.get_array()) {
        counts->push_back(ATOLL_TRY(unsigned_of(run, "run")));
      }
    }
  }
  if (size.size() != 2) return bad("segmentation needs a size [height, width]");
  if (!text && !counts) return bad("segmentation has no counts");
  Rle mask = text ? ATOLL_TRY(dataset::rle_from_string(*text, size[0], size[1]))
                  : ATOLL_TRY(dataset::rle_from_counts(*counts, size[0], size[1]));
  // "No mask" is written as no counts; that of a mask without pixels is one run of none.
  if (mask.counts.empty()) mask.counts.push_back(0);
  set_mask(mask);
  return {};
}

Result<void> ResultsReader::read_segmentation(json::value value) {
  reason_ = BadReason::kMask;
  if (value.type() == json::json_type::object) {
    ATOLL_TRY(read_rle(value.get_object()));
    reason_ = BadReason::kOther;
    return {};
  }
  for (json::value polygon : value.get_array()) {
    auto& coordinates = polygons_.emplace_back();
    for (json::value number : polygon.get_array()) {
      coordinates.push_back(ATOLL_TRY(real_of(number, "a coordinate of segmentation")));
    }
    if (coordinates.size() < 6 || coordinates.size() % 2 != 0) {
      return bad(fmt::format("a polygon of {} numbers (at least 3 points, x and y each)",
                             coordinates.size()));
    }
  }
  reason_ = BadReason::kOther;
  return {};
}

// On an image that the ground truth does not have they stay undrawn; such a record goes anyway.
Result<void> ResultsReader::draw_polygons() {
  const auto index = ground_truth_.image_index(record_.image_id);
  if (polygons_.empty() || !index) return {};
  const dataset::Image& image = ground_truth_.images()[*index];
  std::vector<Rle> parts;
  for (const auto& polygon : polygons_) {
    parts.push_back(dataset::rle_from_polygon(
        polygon, static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width)));
  }
  set_mask(dataset::rle_merge(parts));
  return {};
}

Result<void> ResultsReader::read_record(json::object object) {
  record_ = {};
  reason_ = BadReason::kOther;
  has_image_ = false;
  polygons_.clear();
  bool has_category = false;
  bool has_score = false;
  for (auto field : object) {
    const std::string_view key = field.unescaped_key();
    if (key == "image_id") {
      record_.image_id = integer_of(field.value());
      has_image_ = true;
    } else if (key == "category_id") {
      record_.category_id = integer_of(field.value());
      has_category = true;
    } else if (key == "score") {
      record_.score = ATOLL_TRY(real_of(field.value(), "score"));
      has_score = true;
    } else if (key == "bbox") {
      ATOLL_TRY(read_box(field.value()));
    } else if (key == "segmentation") {
      ATOLL_TRY(read_segmentation(field.value()));
    }
  }
  const char* missing = !has_image_     ? "image_id"
                        : !has_category ? "category_id"
                        : !has_score    ? "score"
                                        : nullptr;
  if (missing != nullptr) return bad(fmt::format("it has no {}", missing));
  return draw_polygons();
}

Result<ExactRecords> ResultsReader::read(json::document& document) {
  if (document.type() != json::json_type::array) {
    return bad("not a list of results", "a results file is [{\"image_id\": …, \"score\": …}, …]");
  }
  std::optional<ResultCheck> check;
  for (json::value value : document.get_array()) {
    const size_t index = begun_++;
    const auto read = read_record(value.get_object());
    if (!check) check.emplace(ground_truth_, bad_results_, record_.has_box);
    bool stays = false;
    if (read) {
      stays = ATOLL_TRY(check->accept(record_, index, bad_counts_));
    } else {
      Error error = read.error();
      if (has_image_) error.message += fmt::format(" (image_id {})", record_.image_id);
      stays = ATOLL_TRY(check->refuse(index, reason_, std::move(error), bad_counts_));
    }
    if (stays) result_.records.push_back(record_);
  }
  // simdjson sees to the end of the list only; a place behind it is one where something stands.
  if (document.current_location().error() == simdjson::SUCCESS) {
    begun_ = 0;
    throw simdjson::simdjson_error(simdjson::TRAILING_CONTENT);
  }
  return std::move(result_);
}

// What simdjson's codes mean for someone who looks at the file.
std::string explain(simdjson::error_code error) {
  switch (error) {
    case simdjson::INCORRECT_TYPE:
      return "a value of another type than the results format has there";
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
      return "the text does not end with the list's ']'";
    case simdjson::UNCLOSED_STRING:
    case simdjson::EMPTY:
      return "the text ends too early";
    case simdjson::TAPE_ERROR:
      return "a comma, a bracket, a key or a value is missing or out of place";
    case simdjson::TRAILING_CONTENT:
      return "something follows the list";
    case simdjson::CAPACITY:
      return "what cannot be read in a file of 4 GB and more";
    default:
      return simdjson::error_message(error);
  }
}

}  // namespace

Result<ExactRecords> read_results(std::string_view text,
                                  std::string_view name,
                                  const dataset::CocoDataset& ground_truth,
                                  BadResults bad_results,
                                  BadResultCounts& bad) {
  // A byte order mark is not JSON, but Windows tools write one.
  const size_t skipped = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  text.remove_prefix(skipped);
  const simdjson::padded_string padded(text);
  json::parser parser;
  json::document document;
  ResultsReader reader(ground_truth, bad_results, bad);
  try {
    document = parser.iterate(padded);
    auto records = reader.read(document);
    if (!records) return tl::unexpected(std::move(records).error().with_context(name));
    return records;
  } catch (const simdjson::simdjson_error& error) {
    size_t offset = text.size();
    const char* place = nullptr;
    if (document.is_alive() && document.current_location().get(place) == simdjson::SUCCESS) {
      offset = std::min(offset, static_cast<size_t>(place - padded.data()));
    }
    const std::string record =
        reader.begun() > 0 ? fmt::format(" (record {})", reader.begun() - 1) : "";
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format(
            "{}: near byte {}: {}{}", name, offset + skipped, explain(error.error()), record),
        "check that the file is complete, and a COCO results list");
  }
}

}  // namespace atl::eval::internal
