// The fields of an LVIS JSON that COCO does not have. The dataset has been read from the same text,
// so what is checked here is these fields only; records are found again by their ids, and sections
// may come in any order.
//
// simdjson throws on malformed JSON; parse_lvis catches it.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "eval/lvis.h"

namespace atl::eval {
namespace {

namespace json = simdjson::ondemand;

constexpr const char* kHint =
    "LVIS annotations have neg_category_ids and not_exhaustive_category_ids in every image, and a "
    "frequency in every category; for COCO's, leave out --lvis";

tl::unexpected<Error> bad(std::string message) {
  return fail(ErrorCode::kInvalidInput, std::move(message), kHint);
}

std::optional<int64_t> integer_of(json::value value) {
  int64_t number = 0;
  if (value.get_int64().get(number) != simdjson::SUCCESS) return std::nullopt;
  return number;
}

Result<std::vector<int64_t>> read_ids(json::value value, std::string_view key) {
  if (value.type() != json::json_type::array) {
    return bad(fmt::format("'{}' must be a list of category ids", key));
  }
  std::vector<int64_t> ids;
  for (json::value element : value.get_array()) {
    const auto id = integer_of(element);
    if (!id) return bad(fmt::format("'{}' must be a list of category ids", key));
    ids.push_back(*id);
  }
  std::ranges::sort(ids);
  return ids;
}

Result<Frequency> read_frequency(json::value value) {
  std::string_view text;
  if (value.get_string().get(text) == simdjson::SUCCESS) {
    if (text == "r") return Frequency::kRare;
    if (text == "c") return Frequency::kCommon;
    if (text == "f") return Frequency::kFrequent;
  }
  return bad("'frequency' must be \"r\", \"c\" or \"f\"");
}

Result<bool> read_flag(json::value value) {
  bool flag = false;
  if (value.get_bool().get(flag) == simdjson::SUCCESS) return flag;
  const auto number = integer_of(value);
  if (!number || (*number != 0 && *number != 1)) return bad("'ignore' must be 0 or 1");
  return *number == 1;
}

// What one record has; a problem with it is kept until its id is known.
struct Record {
  std::optional<int64_t> id;
  std::optional<Error> problem;
  std::optional<std::vector<int64_t>> negative;
  std::optional<std::vector<int64_t>> not_exhaustive;
  std::optional<Frequency> frequency;
  bool ignored = false;

  template <typename Value, typename Field>
  void keep(Result<Value> read, Field& field) {
    if (read) {
      field = std::move(*read);
    } else if (!problem) {
      problem = std::move(read).error();
    }
  }
};

class LvisReader {
 public:
  explicit LvisReader(const dataset::CocoDataset& dataset) : dataset_(dataset) {
    result_.images.resize(dataset.images().size());
    result_.frequencies.resize(dataset.categories().size());
    for (const auto& category : dataset.categories()) category_ids_.insert(category.id);
  }

  Result<LvisAnnotations> read(json::document& document) {
    for (auto field : document.get_object()) {
      const std::string_view key = field.unescaped_key();
      if (key == "images") {
        ATOLL_TRY(section(field.value(), "image", [&](Record& each) { return image(each); }));
      } else if (key == "categories") {
        ATOLL_TRY(section(field.value(), "category", [&](Record& each) { return category(each); }));
      } else if (key == "annotations") {
        ATOLL_TRY(
            section(field.value(), "annotation", [&](Record& each) { return annotation(each); }));
      }
    }
    place_ignored();
    return std::move(result_);
  }

 private:
  template <typename Visit>
  static Result<void> section(json::value list, const char* kind, Visit&& visit) {
    for (json::value element : list.get_array()) {
      Record record = record_of(element.get_object());
      if (!record.id) return bad(fmt::format("one {} has no integer 'id'", kind));
      auto visited =
          record.problem ? Result<void>(tl::unexpected(std::move(*record.problem))) : visit(record);
      if (!visited) {
        return tl::unexpected(
            std::move(visited).error().with_context(fmt::format("{} {}", kind, *record.id)));
      }
    }
    return {};
  }

  static Record record_of(json::object object) {
    Record record;
    for (auto field : object) {
      const std::string_view key = field.unescaped_key();
      if (key == "id") {
        record.id = integer_of(field.value());
      } else if (key == "neg_category_ids") {
        record.keep(read_ids(field.value(), "neg_category_ids"), record.negative);
      } else if (key == "not_exhaustive_category_ids") {
        record.keep(read_ids(field.value(), "not_exhaustive_category_ids"), record.not_exhaustive);
      } else if (key == "frequency") {
        record.keep(read_frequency(field.value()), record.frequency);
      } else if (key == "ignore") {
        record.keep(read_flag(field.value()), record.ignored);
      }
    }
    return record;
  }

  Result<void> check(const std::vector<int64_t>& ids, const char* key) const {
    for (const int64_t id : ids) {
      if (category_ids_.contains(id)) continue;
      return bad(fmt::format("category {} in '{}' is not among the categories", id, key));
    }
    return {};
  }

  Result<void> image(Record& record) {
    if (!record.negative) return bad("'neg_category_ids' is missing");
    if (!record.not_exhaustive) return bad("'not_exhaustive_category_ids' is missing");
    ATOLL_TRY(check(*record.negative, "neg_category_ids"));
    ATOLL_TRY(check(*record.not_exhaustive, "not_exhaustive_category_ids"));
    const auto index = dataset_.image_index(*record.id);
    if (!index) return {};  // dropped by a lenient load
    result_.images[*index].negative_categories = std::move(*record.negative);
    result_.images[*index].not_exhaustive_categories = std::move(*record.not_exhaustive);
    return {};
  }

  Result<void> category(Record& record) {
    if (!record.frequency) return bad("'frequency' is missing");
    const auto label = dataset_.label_of(*record.id);
    if (label) result_.frequencies[static_cast<size_t>(*label - 1)] = *record.frequency;
    return {};
  }

  Result<void> annotation(Record& record) {
    if (record.ignored) ignored_.insert(*record.id);
    return {};
  }

  void place_ignored() {
    if (ignored_.empty()) return;
    for (size_t image = 0; image < result_.images.size(); ++image) {
      for (const auto& annotation : dataset_.annotations_of(image)) {
        result_.images[image].ignored.push_back(ignored_.contains(annotation.id));
      }
    }
  }

  const dataset::CocoDataset& dataset_;
  LvisAnnotations result_;
  std::unordered_set<int64_t> category_ids_;
  std::unordered_set<int64_t> ignored_;  // ids of annotations
};

}  // namespace

Result<LvisAnnotations> parse_lvis(std::string_view text,
                                   std::string_view name,
                                   const dataset::CocoDataset& dataset) {
  // A byte order mark is not JSON, but Windows tools write one.
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const simdjson::padded_string padded(text);
  json::parser parser;
  try {
    json::document document = parser.iterate(padded);
    auto lvis = LvisReader(dataset).read(document);
    if (!lvis) return tl::unexpected(std::move(lvis).error().with_context(name));
    return lvis;
  } catch (const simdjson::simdjson_error& error) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{}: malformed JSON: {}", name, simdjson::error_message(error.error())),
                "check that the file is complete");
  }
}

}  // namespace atl::eval
