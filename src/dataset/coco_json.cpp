// COCO JSON in and out. The file's outer structure (an object of lists of records) is walked by
// JsonCursor, each record goes through simdjson. Sections come in any order: annotations that stand
// before the images or the categories are skipped and read in a second pass over their part of the
// file.
#include <fmt/format.h>

#include <iterator>

#include "dataset/coco_builder.h"
#include "dataset/coco_json_cursor.h"
#include "dataset/coco_json_record.h"

namespace atl::dataset {
namespace {

// visit(record, offset) for each element of the array at the cursor.
template <typename Visit>
Result<void> for_each_record(JsonCursor& cursor, std::string_view section, Visit&& visit) {
  if (cursor.peek() != '[' && !cursor.at_end()) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("byte {}: '{}' must be a list", cursor.offset(), section));
  }
  ATOLL_TRY(cursor.expect('['));
  if (cursor.accept(']')) return {};
  do {
    cursor.peek();
    const size_t offset = cursor.offset();
    ATOLL_TRY(visit(ATOLL_TRY(cursor.skip_value()), offset));
  } while (cursor.accept(','));
  return cursor.expect(']');
}

// visit(key) for each key of the outer object, the cursor standing at its value.
template <typename Visit>
Result<void> for_each_section(JsonCursor& cursor, Visit&& visit) {
  ATOLL_TRY(cursor.expect('{'));
  if (!cursor.accept('}')) {
    do {
      const std::string_view key = ATOLL_TRY(cursor.string());
      ATOLL_TRY(cursor.expect(':'));
      ATOLL_TRY(visit(key));
    } while (cursor.accept(','));
    ATOLL_TRY(cursor.expect('}'));
  }
  return {};
}

class CocoReader {
 public:
  CocoReader(std::string_view text, CocoBuilder& builder) : text_(text), builder_(builder) {}

  Result<void> read() {
    JsonCursor cursor(text_);
    // A byte order mark is not JSON, but Windows tools write one.
    if (text_.starts_with("\xef\xbb\xbf")) cursor = JsonCursor(text_, 3);
    ATOLL_TRY(for_each_section(cursor, [&](std::string_view key) { return section(cursor, key); }));
    if (!cursor.at_end()) {
      return malformed_json(cursor.offset(), "something follows the end of the document");
    }
    for (const auto& [seen, name] : {std::pair{has_images_, "images"},
                                     std::pair{has_categories_, "categories"},
                                     std::pair{has_annotations_, "annotations"}}) {
      if (!seen) {
        return fail(ErrorCode::kInvalidInput,
                    fmt::format("it has no '{}'", name),
                    "a COCO file has the lists images, annotations and categories");
      }
    }
    if (!postponed_) return {};
    JsonCursor again(text_, *postponed_);
    return annotations(again);
  }

 private:
  Result<void> section(JsonCursor& cursor, std::string_view key) {
    if (key == "images") {
      ATOLL_TRY(first_time(has_images_, cursor, key));
      return images(cursor);
    }
    if (key == "categories") {
      ATOLL_TRY(first_time(has_categories_, cursor, key));
      return categories(cursor);
    }
    if (key == "annotations") {
      ATOLL_TRY(first_time(has_annotations_, cursor, key));
      if (has_images_ && has_categories_) return annotations(cursor);
      postponed_ = cursor.offset();
    }
    ATOLL_TRY(cursor.skip_value());
    return {};
  }

  static Result<void> first_time(bool& seen, const JsonCursor& cursor, std::string_view key) {
    if (seen) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("byte {}: '{}' appears twice", cursor.offset(), key));
    }
    seen = true;
    return {};
  }

  Result<void> images(JsonCursor& cursor) {
    return for_each_record(cursor, "images", [&](std::string_view json, size_t offset) {
      const auto record = records_.image(json);
      if (!record) return failed("image", json, offset, record.error());
      return builder_.add_image(*record);
    });
  }
  Result<void> categories(JsonCursor& cursor) {
    return for_each_record(cursor, "categories", [&](std::string_view json, size_t offset) {
      auto record = records_.category(json);
      if (!record) return failed("category", json, offset, record.error());
      return builder_.add_category(std::move(*record));
    });
  }
  Result<void> annotations(JsonCursor& cursor) {
    return for_each_record(cursor, "annotations", [&](std::string_view json, size_t offset) {
      const auto record = records_.annotation(json);
      if (!record) return failed("annotation", json, offset, record.error());
      return builder_.add_annotation(*record);
    });
  }

  Result<void> failed(std::string_view kind,
                      std::string_view json,
                      size_t offset,
                      const Error& error) {
    if (error.code == ErrorCode::kCorrupt) {
      return malformed_json(
          offset + records_.failure_byte(),
          fmt::format("in the {} that begins at byte {}: {}", kind, offset, error.message));
    }
    const auto id = records_.id(json);
    const std::string name =
        id ? fmt::format("{} {}", kind, *id) : fmt::format("the {} at byte {}", kind, offset);
    return builder_.report(name, error);
  }

  std::string_view text_;
  CocoBuilder& builder_;
  RecordParser records_;
  bool has_images_ = false;
  bool has_categories_ = false;
  bool has_annotations_ = false;
  std::optional<size_t> postponed_;  // where the annotations' list begins
};

void append_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_segmentation(std::string& out, const CocoDataset& data, const Annotation& annotation) {
  if (annotation.kind == SegmentationKind::kRle) {
    const Rle rle = data.rle(annotation.first_part);
    fmt::format_to(std::back_inserter(out), R"({{"size":[{},{}],"counts":)", rle.height, rle.width);
    if (annotation.crowd) {
      fmt::format_to(std::back_inserter(out), "[{}]", fmt::join(rle.counts, ","));
    } else {
      append_string(out, rle_to_string(rle));
    }
    out += '}';
    return;
  }
  out += '[';
  for (uint32_t part = 0; part < annotation.part_count; ++part) {
    fmt::format_to(std::back_inserter(out),
                   "{}[{}]",
                   part == 0 ? "" : ",",
                   fmt::join(data.polygon(annotation.first_part + part), ","));
  }
  out += ']';
}

}  // namespace

Result<void> read_coco_json(std::string_view text, CocoBuilder& builder) {
  return CocoReader(text, builder).read();
}

Result<std::vector<std::string>> first_file_names(std::string_view text, size_t count) {
  std::vector<std::string> names;
  RecordParser records;
  JsonCursor cursor(text, text.starts_with("\xef\xbb\xbf") ? 3 : 0);
  // kCancelled says "enough" to the walk, and goes no further than this function.
  const auto enough = [] { return fail(ErrorCode::kCancelled, "enough"); };
  const auto walked = for_each_section(cursor, [&](std::string_view key) -> Result<void> {
    if (key != "images") {
      ATOLL_TRY(cursor.skip_value());
      return {};
    }
    ATOLL_TRY(for_each_record(cursor, key, [&](std::string_view json, size_t) -> Result<void> {
      if (names.size() >= count) return enough();
      if (auto image = records.image(json)) names.push_back(std::move(image->file_name));
      return {};
    }));
    return enough();
  });
  if (!walked && walked.error().code != ErrorCode::kCancelled) {
    return tl::unexpected(walked.error());
  }
  return names;
}

std::string to_json(const CocoDataset& dataset) {
  std::string out = R"({"info":{"description":"written by atoll"},"licenses":[],"categories":[)";
  const char* comma = "";
  for (const Category& category : dataset.categories()) {
    fmt::format_to(std::back_inserter(out), R"({}{{"id":{},"name":)", comma, category.id);
    append_string(out, category.name);
    out += R"(,"supercategory":)";
    append_string(out, category.supercategory);
    out += '}';
    comma = ",\n";
  }
  out += "],\n\"images\":[";
  comma = "";
  for (const Image& image : dataset.images()) {
    fmt::format_to(std::back_inserter(out),
                   R"({}{{"id":{},"width":{},"height":{},"file_name":)",
                   comma,
                   image.id,
                   image.width,
                   image.height);
    append_string(out, image.file_name);
    out += '}';
    comma = ",\n";
  }
  out += "],\n\"annotations\":[";
  comma = "";
  for (const Annotation& annotation : dataset.annotations()) {
    const int64_t image_id = dataset.images()[static_cast<size_t>(annotation.image_index)].id;
    fmt::format_to(
        std::back_inserter(out),
        R"({}{{"id":{},"image_id":{},"category_id":{},"iscrowd":{},"area":{},"bbox":[{}],"segmentation":)",
        comma,
        annotation.id,
        image_id,
        annotation.category_id,
        annotation.crowd ? 1 : 0,
        annotation.area,
        fmt::join(annotation.box, ","));
    append_segmentation(out, dataset, annotation);
    out += '}';
    comma = ",\n";
  }
  out += "]}\n";
  return out;
}

}  // namespace atl::dataset
