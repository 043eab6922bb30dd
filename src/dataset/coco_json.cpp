// COCO JSON in. The file's outer structure (an object of lists of records) is walked by JsonCursor.
// The two long lists are read in pieces on several threads (coco_json_batch.h), then handed to the
// builder in order. Where such a list is malformed, it is walked again record by record with
// simdjson: that way is exact about the first error and its byte.
//
// Sections come in any order: annotations that stand before the images or the categories (in COCO's
// own files the categories come last) wait for them.
#include <fmt/format.h>

#include <array>

#include "dataset/coco_builder.h"
#include "dataset/coco_json_batch.h"
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
  CocoReader(std::string_view text, CocoBuilder& builder, const JsonOptions& options)
      : text_(text), builder_(builder), options_(options) {}

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
    if (waiting_) return add_all(std::move(*waiting_));
    if (!postponed_) return {};
    JsonCursor again(text_, *postponed_);
    return annotations(again);
  }

 private:
  Result<void> section(JsonCursor& cursor, std::string_view key) {
    if (key == "images") {
      ATOLL_TRY(first_time(has_images_, cursor, key));
      if (auto list = read_quickly(cursor, read_images)) return add_all(std::move(*list));
      return images(cursor);
    }
    if (key == "categories") {
      ATOLL_TRY(first_time(has_categories_, cursor, key));
      return categories(cursor);
    }
    if (key == "annotations") {
      ATOLL_TRY(first_time(has_annotations_, cursor, key));
      const bool in_order = has_images_ && has_categories_;
      if (auto list = read_quickly(cursor, read_annotations)) {
        if (in_order) return add_all(std::move(*list));
        waiting_ = std::move(list);
        return {};
      }
      if (in_order) return annotations(cursor);
      postponed_ = cursor.offset();
    }
    ATOLL_TRY(cursor.skip_value());
    return {};
  }

  // Moves the cursor behind the list if it could be read.
  template <typename List>
  List read_quickly(JsonCursor& cursor,
                    List (*read)(std::string_view, size_t, const JsonOptions&)) {
    if (options_.plain || cursor.peek() != '[') return std::nullopt;
    auto list = read(text_, cursor.offset() + 1, options_);
    if (list) cursor = JsonCursor(text_, list->end);
    return list;
  }

  Result<void> add(const ScannedImage& image, const PackedShapes&) {
    return builder_.add_image(image.id, image.width, image.height, image.file_name);
  }
  Result<void> add(const PackedAnnotation& annotation, const PackedShapes& shapes) {
    return builder_.add_annotation(annotation, shapes);
  }
  void reserve(const RecordList<ScannedImage>&) {}
  void reserve(const RecordList<PackedAnnotation>& list) {
    std::array<size_t, 4> sizes{};
    for (const auto& batch : list.batches) {
      sizes[0] += batch.records.size();
      sizes[1] += batch.shapes.polygons.size();
      sizes[2] += batch.shapes.coordinates.size();
      sizes[3] += batch.shapes.runs.size();
    }
    builder_.reserve(sizes[0], sizes[1], sizes[2], sizes[3]);
  }
  template <typename Record>
  Result<void> add_all(RecordList<Record> list) {
    reserve(list);
    for (RecordBatch<Record>& batch : list.batches) {
      auto problem = batch.problems.begin();
      for (size_t i = 0; i <= batch.records.size(); ++i) {
        for (; problem != batch.problems.end() && problem->before == i; ++problem) {
          ATOLL_TRY(builder_.report(problem->record, problem->error));
        }
        if (i < batch.records.size()) ATOLL_TRY(add(batch.records[i], batch.shapes));
      }
      batch = {};  // its memory is needed by the dataset
    }
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
    return builder_.report(record_name(kind, records_.id(json), offset), error);
  }

  std::string_view text_;
  CocoBuilder& builder_;
  const JsonOptions& options_;
  RecordParser records_;
  bool has_images_ = false;
  bool has_categories_ = false;
  bool has_annotations_ = false;
  std::optional<RecordList<PackedAnnotation>> waiting_;
  std::optional<size_t> postponed_;  // where the annotations' list begins
};

}  // namespace

Result<void> read_coco_json(std::string_view text,
                            CocoBuilder& builder,
                            const JsonOptions& options) {
  return CocoReader(text, builder, options).read();
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

}  // namespace atl::dataset
