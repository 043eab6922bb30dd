// The COCO results format: a list of {"image_id", "category_id", "score", "bbox", "segmentation"}.
//
// What a record lacks is filled in as pycocotools' loadRes does, which decides by the first record:
// with a non-empty box there, every record needs a box and its area is w * h, for masks too;
// otherwise every record needs a mask, its area is the mask's, and a missing box is the mask's.
//
// simdjson throws on malformed JSON; parse_results catches it and says where.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>

#include "dataset/coco.h"
#include "eval/eval.h"

namespace atl::eval {
namespace {

namespace json = simdjson::ondemand;
using dataset::Rle;

struct Record {
  Detection detection;
  bool has_image = false;
  bool has_category = false;
  bool has_score = false;
  bool has_box = false;
  bool has_mask = false;
  std::vector<std::vector<double>> polygons;  // rasterised when the image is known
};

// Runs, sides and ids: whole numbers, also where a writer put 17.0.
int64_t integer_of(json::value value) {
  int64_t whole = 0;
  if (value.get_int64().get(whole) == simdjson::SUCCESS) return whole;
  const double real = value.get_double();
  constexpr double kLimit = 0x1p63;
  if (real != std::floor(real) || real < -kLimit || real >= kLimit) {
    throw simdjson::simdjson_error(simdjson::INCORRECT_TYPE);
  }
  return static_cast<int64_t>(real);
}

tl::unexpected<Error> bad(std::string message, std::string hint = {}) {
  return fail(ErrorCode::kInvalidInput, std::move(message), std::move(hint));
}

Result<uint32_t> unsigned_of(json::value value, std::string_view what) {
  const int64_t number = integer_of(value);
  if (number < 0 || number > int64_t{0xffffffff}) {
    return bad(fmt::format("{} {} is out of range", what, number));
  }
  return static_cast<uint32_t>(number);
}

Result<void> read_box(json::value value, Record& record) {
  size_t count = 0;
  for (json::value number : value.get_array()) {
    const double coordinate = number.get_double();
    if (count < 4) record.detection.box[count] = coordinate;
    ++count;
  }
  if (count != 0 && count != 4) return bad(fmt::format("bbox has {} numbers instead of 4", count));
  record.has_box = count == 4;
  return {};
}

Result<void> read_rle(json::object object, Record& record) {
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
  if (text) {
    record.detection.mask = ATOLL_TRY(dataset::rle_from_string(*text, size[0], size[1]));
  } else if (counts) {
    record.detection.mask = ATOLL_TRY(dataset::rle_from_counts(*counts, size[0], size[1]));
  } else {
    return bad("segmentation has no counts");
  }
  // "No mask" is written as no counts; that of a mask without pixels is one run of none.
  if (record.detection.mask.counts.empty()) record.detection.mask.counts.push_back(0);
  record.has_mask = true;
  return {};
}

Result<void> read_segmentation(json::value value, Record& record) {
  if (value.type() == json::json_type::object) return read_rle(value.get_object(), record);
  for (json::value polygon : value.get_array()) {
    auto& coordinates = record.polygons.emplace_back();
    for (json::value number : polygon.get_array()) {
      coordinates.push_back(number.get_double());
    }
    if (coordinates.size() < 6 || coordinates.size() % 2 != 0) {
      return bad(fmt::format("a polygon of {} numbers (at least 3 points, x and y each)",
                             coordinates.size()));
    }
  }
  record.has_mask = !record.polygons.empty();
  return {};
}

Result<Record> read_record(json::object object) {
  Record record;
  for (auto field : object) {
    const std::string_view key = field.unescaped_key();
    if (key == "image_id") {
      record.detection.image_id = integer_of(field.value());
      record.has_image = true;
    } else if (key == "category_id") {
      record.detection.category_id = integer_of(field.value());
      record.has_category = true;
    } else if (key == "score") {
      record.detection.score = field.value().get_double();
      record.has_score = true;
    } else if (key == "bbox") {
      ATOLL_TRY(read_box(field.value(), record));
    } else if (key == "segmentation") {
      ATOLL_TRY(read_segmentation(field.value(), record));
    }
  }
  const char* missing = !record.has_image      ? "image_id"
                        : !record.has_category ? "category_id"
                        : !record.has_score    ? "score"
                                               : nullptr;
  if (missing != nullptr) return bad(fmt::format("it has no {}", missing));
  return record;
}

// Fills in what the record lacks; boxes_lead: the file's first record has a box.
Result<Detection> complete(Record record, bool boxes_lead, const dataset::CocoDataset& truth) {
  Detection& detection = record.detection;
  const auto image_index = truth.image_index(detection.image_id);
  if (!image_index) {
    return bad(fmt::format("image_id {} is not in the ground truth", detection.image_id),
               "evaluate against the annotations of the same images");
  }
  if (!record.polygons.empty()) {
    const dataset::Image& image = truth.images()[*image_index];
    std::vector<Rle> parts;
    for (const auto& polygon : record.polygons) {
      parts.push_back(dataset::rle_from_polygon(
          polygon, static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width)));
    }
    detection.mask = dataset::rle_merge(parts);
  }
  if (boxes_lead) {
    if (!record.has_box) return bad("it has no bbox, though the first record has one");
    detection.area = detection.box[2] * detection.box[3];
  } else {
    if (!record.has_mask) return bad("it has neither bbox nor segmentation");
    detection.area = static_cast<double>(dataset::rle_area(detection.mask));
    if (!record.has_box) detection.box = dataset::rle_bounding_box(detection.mask);
  }
  return std::move(detection);
}

Result<std::vector<Detection>> read_results(json::document& document,
                                            const dataset::CocoDataset& truth) {
  std::vector<Detection> detections;
  std::optional<bool> boxes_lead;
  if (document.type() != json::json_type::array) {
    return bad("not a list of results", "a results file is [{\"image_id\": …, \"score\": …}, …]");
  }
  for (json::value value : document.get_array()) {
    auto record = read_record(value.get_object());
    const auto at_record = [&](Error error) {
      return tl::unexpected(
          std::move(error).with_context(fmt::format("record {}", detections.size())));
    };
    if (!record) return at_record(std::move(record).error());
    if (!boxes_lead) boxes_lead = record->has_box;
    auto detection = complete(std::move(*record), *boxes_lead, truth);
    if (!detection) return at_record(std::move(detection).error());
    detections.push_back(std::move(*detection));
  }
  // simdjson sees to the end of the list only; a place behind it is one where something stands.
  if (document.current_location().error() == simdjson::SUCCESS) {
    throw simdjson::simdjson_error(simdjson::TRAILING_CONTENT);
  }
  return detections;
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
    default:
      return simdjson::error_message(error);
  }
}

}  // namespace

Result<std::vector<Detection>> parse_results(std::string_view text,
                                             std::string_view name,
                                             const dataset::CocoDataset& ground_truth) {
  // A byte order mark is not JSON, but Windows tools write one.
  const size_t skipped = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  text.remove_prefix(skipped);
  const simdjson::padded_string padded(text);
  json::parser parser;
  json::document document;
  try {
    document = parser.iterate(padded);
    auto detections = read_results(document, ground_truth);
    if (!detections) {
      return tl::unexpected(std::move(detections).error().with_context(name));
    }
    return detections;
  } catch (const simdjson::simdjson_error& error) {
    size_t offset = text.size();
    const char* place = nullptr;
    if (document.is_alive() && document.current_location().get(place) == simdjson::SUCCESS) {
      offset = std::min(offset, static_cast<size_t>(place - padded.data()));
    }
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: near byte {}: {}", name, offset + skipped, explain(error.error())),
                "check that the file is complete, and a COCO results list");
  }
}

namespace {

void append_number(std::string& text, double number) {
  if (std::isfinite(number)) {
    fmt::format_to(std::back_inserter(text), "{}", number);
  } else {
    text += "null";
  }
}

void append_segmentation(std::string& text, const Rle& mask) {
  fmt::format_to(std::back_inserter(text),
                 ",\"segmentation\":{{\"size\":[{},{}],\"counts\":\"",
                 mask.height,
                 mask.width);
  for (const char c : dataset::rle_to_string(mask)) {
    if (c == '\\') text += '\\';
    text += c;
  }
  text += "\"}";
}

}  // namespace

std::string results_to_json(std::span<const Detection> detections) {
  std::string text = "[";
  for (const Detection& detection : detections) {
    text += text.size() == 1 ? "\n" : ",\n";
    fmt::format_to(std::back_inserter(text),
                   "{{\"image_id\":{},\"category_id\":{},\"bbox\":[",
                   detection.image_id,
                   detection.category_id);
    for (size_t i = 0; i < 4; ++i) {
      if (i > 0) text += ',';
      append_number(text, detection.box[i]);
    }
    text += "],\"score\":";
    append_number(text, detection.score);
    if (!detection.mask.counts.empty()) append_segmentation(text, detection.mask);
    text += '}';
  }
  return text + "\n]\n";
}

}  // namespace atl::eval
