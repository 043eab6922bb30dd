#include "dataset/coco_json_record.h"

#include <fmt/format.h>

#include <limits>

#include "dataset/json_number.h"

namespace atl::dataset {
namespace {

namespace ondemand = simdjson::ondemand;

tl::unexpected<Error> bad(std::string message) {
  return fail(ErrorCode::kInvalidInput, std::move(message));
}

// The value as it stands in the text, cut to a length for a message.
std::string shown(ondemand::value& value) {
  std::string_view token = value.raw_json_token();
  token = token.substr(0, token.find_last_not_of(" \n\r\t") + 1);
  if (token.starts_with('{')) return "an object";
  if (token.starts_with('[')) return "a list";
  if (token.size() > 24) return fmt::format("{}…", token.substr(0, 24));
  return std::string(token);
}

// A value of another type, or one like NaN or 1e999, is the record's fault; anything else that
// simdjson objects to is broken JSON.
tl::unexpected<Error> wrong(simdjson::error_code code,
                            ondemand::value& value,
                            std::string_view key,
                            std::string_view wanted) {
  switch (code) {
    case simdjson::INCORRECT_TYPE:
    case simdjson::NUMBER_ERROR:
    case simdjson::NUMBER_OUT_OF_RANGE:
      return bad(fmt::format("'{}' must be {}, found {}", key, wanted, shown(value)));
    default:
      return fail(ErrorCode::kCorrupt, simdjson::error_message(code));
  }
}

Result<int64_t> integer(ondemand::value value, std::string_view key) {
  int64_t number = 0;
  if (const auto code = value.get_int64().get(number)) return wrong(code, value, key, "an integer");
  return number;
}

// simdjson says what is a number, json_number what it is exactly.
Result<double> real(ondemand::value value, std::string_view key) {
  const std::string_view token = value.raw_json_token();
  double number = 0;
  if (const auto code = value.get_double().get(number)) return wrong(code, value, key, "a number");
  return json_number(token).value_or(number);
}

Result<std::string> text(ondemand::value value, std::string_view key) {
  std::string_view view;
  if (const auto code = value.get_string().get(view)) return wrong(code, value, key, "a string");
  return std::string(view);
}

Result<bool> flag(ondemand::value value, std::string_view key) {
  bool truth = false;
  if (value.get_bool().get(truth) == simdjson::SUCCESS) return truth;
  int64_t number = 0;
  if (value.get_int64().get(number) != simdjson::SUCCESS || (number != 0 && number != 1)) {
    return bad(fmt::format("'{}' must be 0 or 1", key));
  }
  return number == 1;
}

// visit(value) for each element.
template <typename Visit>
Result<void> for_each_element(ondemand::value value,
                              std::string_view key,
                              std::string_view wanted,
                              Visit&& visit) {
  ondemand::array array;
  if (const auto code = value.get_array().get(array)) return wrong(code, value, key, wanted);
  for (auto element : array) {
    ondemand::value item;
    if (const auto code = element.get(item)) {
      return fail(ErrorCode::kCorrupt, simdjson::error_message(code));
    }
    ATOLL_TRY(visit(item));
  }
  return {};
}

Result<std::array<double, 4>> read_box(ondemand::value value) {
  std::array<double, 4> box{};
  size_t count = 0;
  ATOLL_TRY(for_each_element(value, "bbox", "4 numbers", [&](ondemand::value item) -> Result<void> {
    const double number = ATOLL_TRY(real(item, "bbox"));
    if (count < 4) box[count] = number;
    ++count;
    return {};
  }));
  if (count != 4) return bad(fmt::format("'bbox' has {} numbers instead of 4", count));
  return box;
}

Result<void> read_polygons(ondemand::value value, AnnotationRecord& record) {
  ATOLL_TRY(for_each_element(
      value, "segmentation", "polygons or an RLE", [&](ondemand::value polygon) -> Result<void> {
        const size_t before = record.coordinates.size();
        ATOLL_TRY(for_each_element(polygon,
                                   "segmentation",
                                   "a list of polygons",
                                   [&](ondemand::value item) -> Result<void> {
                                     record.coordinates.push_back(
                                         ATOLL_TRY(real(item, "segmentation")));
                                     return {};
                                   }));
        record.polygon_lengths.push_back(record.coordinates.size() - before);
        return {};
      }));
  // An empty list is how some exporters write "no mask".
  if (!record.polygon_lengths.empty()) record.kind = SegmentationKind::kPolygons;
  return {};
}

Result<std::array<uint32_t, 2>> read_mask_size(ondemand::value value) {
  std::array<uint32_t, 2> size{};
  size_t count = 0;
  ATOLL_TRY(
      for_each_element(value, "size", "2 integers", [&](ondemand::value item) -> Result<void> {
        const int64_t side = ATOLL_TRY(integer(item, "size"));
        if (side < 1 || side > kMaxImageSide_px) return bad(fmt::format("a mask side is {}", side));
        if (count < 2) size[count] = static_cast<uint32_t>(side);
        ++count;
        return {};
      }));
  if (count != 2) return bad(fmt::format("'size' has {} numbers instead of 2", count));
  return size;
}

Result<std::vector<uint32_t>> read_counts(ondemand::value value) {
  std::vector<uint32_t> counts;
  ATOLL_TRY(for_each_element(
      value, "counts", "a list or a string", [&](ondemand::value item) -> Result<void> {
        const int64_t count = ATOLL_TRY(integer(item, "counts"));
        if (count < 0 || count > std::numeric_limits<uint32_t>::max()) {
          return bad(fmt::format("a run of its mask has the length {}", count));
        }
        counts.push_back(static_cast<uint32_t>(count));
        return {};
      }));
  return counts;
}

// {"size": [height, width], "counts": [runs] or "compressed runs"}
Result<void> read_rle(ondemand::value value, AnnotationRecord& record) {
  ondemand::object object;
  if (const auto code = value.get_object().get(object)) {
    return wrong(code, value, "segmentation", "polygons or an RLE");
  }
  std::optional<std::array<uint32_t, 2>> size;
  std::optional<std::vector<uint32_t>> runs;
  std::optional<std::string> compressed;
  for (auto field : object) {
    std::string_view key;
    ondemand::value item;
    if (const auto code = field.unescaped_key().get(key)) {
      return fail(ErrorCode::kCorrupt, simdjson::error_message(code));
    }
    if (const auto code = field.value().get(item)) {
      return fail(ErrorCode::kCorrupt, simdjson::error_message(code));
    }
    if (key == "size") size = ATOLL_TRY(read_mask_size(item));
    if (key != "counts") continue;
    ondemand::json_type type{};
    if (const auto code = item.type().get(type)) {
      return fail(ErrorCode::kCorrupt, simdjson::error_message(code));
    }
    if (type == ondemand::json_type::string) {
      compressed = ATOLL_TRY(text(item, "counts"));
    } else {
      runs = ATOLL_TRY(read_counts(item));
    }
  }
  if (!size) return bad("its RLE has no 'size'");
  if (!runs && !compressed) return bad("its RLE has no 'counts'");
  const auto [height, width] = *size;
  record.rle = runs ? ATOLL_TRY_CONTEXT(rle_from_counts(*runs, height, width), "RLE")
                    : ATOLL_TRY_CONTEXT(rle_from_string(*compressed, height, width), "RLE");
  record.kind = SegmentationKind::kRle;
  return {};
}

Result<void> read_segmentation(ondemand::value value, AnnotationRecord& record) {
  ondemand::json_type type{};
  if (const auto code = value.type().get(type)) {
    return fail(ErrorCode::kCorrupt, simdjson::error_message(code));
  }
  record.kind = SegmentationKind::kNone;
  record.coordinates.clear();
  record.polygon_lengths.clear();
  if (type == ondemand::json_type::null) return {};
  if (type == ondemand::json_type::object) return read_rle(value, record);
  return read_polygons(value, record);
}

bool is_null(ondemand::value value) {
  ondemand::json_type type{};
  return value.type().get(type) == simdjson::SUCCESS && type == ondemand::json_type::null;
}

// The value of a key that must be there.
template <typename T>
Result<T> require(std::optional<T>& value, std::string_view key) {
  if (!value) return bad(fmt::format("the key '{}' is missing", key));
  return std::move(*value);
}

// LVIS has no file names: its images are found by the last two parts of their addresses, folder and
// file, because one split takes images from several of COCO's folders.
std::optional<std::string> name_from_url(std::string_view url) {
  const size_t file = url.rfind('/');
  if (file == std::string_view::npos || file == 0 || file + 1 == url.size()) return std::nullopt;
  const size_t folder = url.rfind('/', file - 1);
  return std::string(folder == std::string_view::npos ? url : url.substr(folder + 1));
}

}  // namespace

Result<ondemand::object> RecordParser::open(std::string_view json) {
  buffer_.reserve(json.size() + simdjson::SIMDJSON_PADDING);
  buffer_.assign(json);
  failure_byte_ = 0;
  const simdjson::padded_string_view padded(buffer_.data(), buffer_.size(), buffer_.capacity());
  auto code = parser_.iterate(padded).get(document_);
  ondemand::object object;
  if (code == simdjson::SUCCESS) code = document_.get_object().get(object);
  if (code == simdjson::INCORRECT_TYPE) return bad("it is not an object");
  if (code != simdjson::SUCCESS) return fail(ErrorCode::kCorrupt, simdjson::error_message(code));
  return object;
}

template <typename Visit>
Result<void> RecordParser::for_each_field(std::string_view json, Visit&& visit) {
  ondemand::object object = ATOLL_TRY(open(json));
  const auto failed = [&](Error error) -> tl::unexpected<Error> {
    const char* place = nullptr;
    if (document_.current_location().get(place) == simdjson::SUCCESS) {
      failure_byte_ = std::min(static_cast<size_t>(place - buffer_.data()), buffer_.size());
    }
    return tl::unexpected(std::move(error));
  };
  for (auto field : object) {
    std::string_view key;
    ondemand::value value;
    auto code = field.unescaped_key().get(key);
    if (code == simdjson::SUCCESS) code = field.value().get(value);
    if (code != simdjson::SUCCESS) {
      return failed(fail(ErrorCode::kCorrupt, simdjson::error_message(code)).value());
    }
    if (auto visited = visit(key, value); !visited) return failed(std::move(visited).error());
  }
  return {};
}

std::optional<int64_t> RecordParser::id(std::string_view json) {
  auto object = open(json);
  if (!object) return std::nullopt;
  int64_t id = 0;
  if ((*object)["id"].get_int64().get(id) != simdjson::SUCCESS) return std::nullopt;
  return id;
}

Result<Category> RecordParser::category(std::string_view json) {
  std::optional<int64_t> id;
  std::optional<std::string> name;
  std::string supercategory;
  ATOLL_TRY(for_each_field(json, [&](std::string_view key, ondemand::value value) -> Result<void> {
    if (key == "id") id = ATOLL_TRY(integer(value, key));
    if (key == "name") name = ATOLL_TRY(text(value, key));
    if (key == "supercategory" && !is_null(value)) supercategory = ATOLL_TRY(text(value, key));
    return {};
  }));
  return Category{
      ATOLL_TRY(require(id, "id")), ATOLL_TRY(require(name, "name")), std::move(supercategory)};
}

Result<ImageRecord> RecordParser::image(std::string_view json) {
  std::optional<int64_t> id;
  std::optional<int64_t> width;
  std::optional<int64_t> height;
  std::optional<std::string> file_name;
  std::string url;
  ATOLL_TRY(for_each_field(json, [&](std::string_view key, ondemand::value value) -> Result<void> {
    if (key == "id") id = ATOLL_TRY(integer(value, key));
    if (key == "width") width = ATOLL_TRY(integer(value, key));
    if (key == "height") height = ATOLL_TRY(integer(value, key));
    if (key == "file_name") file_name = ATOLL_TRY(text(value, key));
    if (key == "coco_url" && !is_null(value)) url = ATOLL_TRY(text(value, key));
    return {};
  }));
  if (!file_name) file_name = name_from_url(url);
  ImageRecord record;
  record.id = ATOLL_TRY(require(id, "id"));
  record.width = ATOLL_TRY(require(width, "width"));
  record.height = ATOLL_TRY(require(height, "height"));
  record.file_name = ATOLL_TRY(require(file_name, "file_name"));
  return record;
}

Result<AnnotationRecord> RecordParser::annotation(std::string_view json) {
  AnnotationRecord record;
  std::optional<int64_t> id;
  std::optional<int64_t> image_id;
  std::optional<int64_t> category_id;
  ATOLL_TRY(for_each_field(json, [&](std::string_view key, ondemand::value value) -> Result<void> {
    if (key == "id") id = ATOLL_TRY(integer(value, key));
    if (key == "image_id") image_id = ATOLL_TRY(integer(value, key));
    if (key == "category_id") category_id = ATOLL_TRY(integer(value, key));
    if (key == "iscrowd" && !is_null(value)) record.crowd = ATOLL_TRY(flag(value, key));
    if (key == "area" && !is_null(value)) record.area = ATOLL_TRY(real(value, key));
    if (key == "bbox" && !is_null(value)) record.box = ATOLL_TRY(read_box(value));
    if (key == "segmentation") ATOLL_TRY(read_segmentation(value, record));
    return {};
  }));
  record.id = ATOLL_TRY(require(id, "id"));
  record.image_id = ATOLL_TRY(require(image_id, "image_id"));
  record.category_id = ATOLL_TRY(require(category_id, "category_id"));
  return record;
}

}  // namespace atl::dataset
