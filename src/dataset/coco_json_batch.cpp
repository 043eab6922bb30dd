#include "dataset/coco_json_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <limits>

#include "base/parallel.h"
#include "dataset/coco_json_cursor.h"
#include "dataset/coco_json_record.h"
#include "dataset/json_text.h"

namespace atl::dataset {
namespace {

constexpr size_t kNowhere = std::numeric_limits<size_t>::max();

// How the two kinds of records are read: quickly, or exactly where that is not enough.
struct ImageReading {
  using Record = ScannedImage;
  static constexpr std::string_view kKind = "image";
  static size_t scan(RecordScanner& scanner, size_t at, RecordBatch<Record>& batch) {
    Record record;
    const size_t end = scanner.image(at, record);
    if (end != 0) batch.records.push_back(record);
    return end;
  }
  static Result<void> parse(RecordParser& parser,
                            std::string_view json,
                            RecordBatch<Record>& batch) {
    ImageRecord record = ATOLL_TRY(parser.image(json));
    const std::string& name = batch.names.emplace_back(std::move(record.file_name));
    batch.records.push_back({record.id, record.width, record.height, name});
    return {};
  }
};

struct AnnotationReading {
  using Record = PackedAnnotation;
  static constexpr std::string_view kKind = "annotation";
  static size_t scan(RecordScanner& scanner, size_t at, RecordBatch<Record>& batch) {
    Record record;
    const size_t end = scanner.annotation(at, record, batch.shapes);
    if (end != 0) batch.records.push_back(record);
    return end;
  }
  static Result<void> parse(RecordParser& parser,
                            std::string_view json,
                            RecordBatch<Record>& batch) {
    batch.records.push_back(pack(ATOLL_TRY(parser.annotation(json)), batch.shapes));
    return {};
  }
};

template <typename Reading>
class ListReader {
 public:
  using Record = typename Reading::Record;

  ListReader(std::string_view text, size_t at, const JsonOptions& options)
      : text_(text), options_(options) {
    Piece first;
    first.begin = skip_json_space(text_, at);
    pieces_.push_back(std::move(first));
    const size_t step = piece_bytes();
    for (size_t near = at; text.size() - near > step;) {
      near += step;
      const size_t border = likely_record(text_, near);
      if (border == std::string_view::npos) break;
      if (border == pieces_.back().begin) continue;
      pieces_.emplace_back().begin = border;
      near = std::max(near, border);
    }
  }

  std::optional<RecordList<Record>> read() {
    parallel_for(pieces_.size(), thread_count(), 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        // Behind the list's end there is nothing for us; where that was a mistake, join() reads on.
        if (pieces_[i].begin < closed_at_.load()) read_piece(i);
      }
    });
    return join();
  }

 private:
  struct Piece {
    size_t begin = 0;
    size_t end = kNowhere;  // where the record behind it begins, or the byte behind the list
    bool closed = false;    // it holds the list's end
    bool malformed = false;
    RecordBatch<Record> batch;
  };

  int thread_count() const { return options_.threads > 0 ? options_.threads : available_cpus(); }

  // Enough pieces that threads end together, none so small that it costs more than it brings.
  size_t piece_bytes() const {
    if (options_.piece_bytes > 0) return options_.piece_bytes;
    const size_t share = text_.size() / (4 * static_cast<size_t>(thread_count()));
    return std::clamp(share, size_t{1} << 20, size_t{4} << 20);
  }

  size_t stop_of(size_t index) const {
    return index + 1 < pieces_.size() ? pieces_[index + 1].begin : kNowhere;
  }

  void read_piece(size_t index) {
    Piece& piece = pieces_[index];
    const size_t stop = stop_of(index);
    RecordScanner scanner(text_, *options_.kernel);
    std::optional<RecordParser> parser;
    reserve(piece, std::min(stop, text_.size()) - piece.begin);
    size_t at = piece.begin;
    for (;;) {
      size_t end = Reading::scan(scanner, at, piece.batch);
      if (end == 0) {
        if (!parser) parser.emplace();
        end = parse(*parser, at, piece);
        if (end == 0) return;
      }
      at = skip_json_space(text_, end);
      if (at < text_.size() && text_[at] == ']') {
        piece.closed = true;
        piece.end = at + 1;
        close(piece.end);
        break;
      }
      if (at == text_.size() || text_[at] != ',') {
        piece.malformed = true;
        return;
      }
      at = skip_json_space(text_, at + 1);
      if (at >= stop) {
        piece.end = at;
        break;
      }
    }
    if (options_.progress && pieces_.size() > 1) {
      options_.progress(done_.fetch_add(piece.end - piece.begin) + piece.end - piece.begin,
                        text_.size());
    }
  }

  // What COCO's own files hold in so many bytes, so that growing does not copy.
  static void reserve(Piece& piece, size_t bytes) {
    piece.batch.records.reserve(bytes / 400 + 1);
    if constexpr (std::is_same_v<Record, PackedAnnotation>) {
      piece.batch.shapes.coordinates.reserve(bytes / 6 + 1);
      piece.batch.shapes.polygons.reserve(bytes / 400 + 1);
    }
  }

  void close(size_t at) {
    size_t seen = closed_at_.load();
    while (at < seen && !closed_at_.compare_exchange_weak(seen, at)) {
    }
  }

  // The exact way for one value; the byte behind it, 0 where it is malformed.
  size_t parse(RecordParser& parser, size_t at, Piece& piece) {
    // Where a record should be and is none, it depends on the way to there what the error is.
    piece.malformed = at == text_.size() || text_[at] != '{';
    if (piece.malformed) return 0;
    JsonCursor cursor(text_, at);
    const auto json = cursor.skip_value();
    piece.malformed = !json;
    if (!json) return 0;
    RecordBatch<Record>& batch = piece.batch;
    const auto parsed = Reading::parse(parser, *json, batch);
    if (parsed) return cursor.offset();
    piece.malformed = parsed.error().code == ErrorCode::kCorrupt;
    if (piece.malformed) return 0;
    batch.problems.push_back(
        {batch.records.size(), record_name(Reading::kKind, parser.id(*json), at), parsed.error()});
    return cursor.offset();
  }

  // Walks the pieces in order and keeps those that begin where the one before ended.
  std::optional<RecordList<Record>> join() {
    RecordList<Record> list;
    list.batches.reserve(pieces_.size());
    size_t expected = pieces_.front().begin;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      Piece& piece = pieces_[i];
      // Swallowed by the piece before, whose last record reaches beyond the border.
      if (stop_of(i) <= expected) continue;
      const bool was_read = piece.end != kNowhere || piece.malformed;
      if (piece.begin != expected || !was_read) {
        piece = {};
        piece.begin = expected;
        read_piece(i);
      }
      if (piece.malformed) return std::nullopt;
      list.batches.push_back(std::move(piece.batch));
      expected = piece.end;
      if (!piece.closed) continue;
      list.end = piece.end;
      return list;
    }
    return std::nullopt;
  }

  std::string_view text_;
  const JsonOptions& options_;
  std::vector<Piece> pieces_;
  std::atomic<size_t> closed_at_ = kNowhere;
  std::atomic<uint64_t> done_ = 0;
};

template <typename Reading>
std::optional<RecordList<typename Reading::Record>> read_list(std::string_view text,
                                                              size_t at,
                                                              const JsonOptions& options) {
  JsonOptions chosen = options;
  if (chosen.kernel == nullptr) chosen.kernel = &best_number_kernel();
  return ListReader<Reading>(text, at, chosen).read();
}

}  // namespace

std::optional<RecordList<ScannedImage>> read_images(std::string_view text,
                                                    size_t at,
                                                    const JsonOptions& options) {
  return read_list<ImageReading>(text, at, options);
}

std::optional<RecordList<PackedAnnotation>> read_annotations(std::string_view text,
                                                             size_t at,
                                                             const JsonOptions& options) {
  return read_list<AnnotationReading>(text, at, options);
}

std::string record_name(std::string_view kind, std::optional<int64_t> id, size_t offset) {
  return id ? fmt::format("{} {}", kind, *id) : fmt::format("the {} at byte {}", kind, offset);
}

PackedAnnotation pack(const AnnotationRecord& record, PackedShapes& shapes) {
  PackedAnnotation packed{.id = record.id,
                          .image_id = record.image_id,
                          .category_id = record.category_id,
                          .box = record.box.value_or(std::array<double, 4>{}),
                          .area = record.area.value_or(0),
                          .has_box = record.box.has_value(),
                          .has_area = record.area.has_value(),
                          .crowd = record.crowd,
                          .kind = record.kind};
  if (record.kind == SegmentationKind::kPolygons) {
    packed.first_part = static_cast<uint32_t>(shapes.polygons.size());
    packed.part_count = static_cast<uint32_t>(record.polygon_lengths.size());
    std::span<const double> rest = record.coordinates;
    for (const size_t length : record.polygon_lengths) {
      shapes.add_polygon(rest.first(length));
      rest = rest.subspan(length);
    }
  } else if (record.kind == SegmentationKind::kRle) {
    packed.first_part = static_cast<uint32_t>(shapes.masks.size());
    packed.part_count = 1;
    shapes.add_mask(record.rle);
  }
  return packed;
}

}  // namespace atl::dataset
