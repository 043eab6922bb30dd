#include "dataset/coco_json_scan.h"

#include <cstring>
#include <limits>

#include "dataset/json_number.h"
#include "dataset/json_text.h"

namespace atl::dataset {
namespace {

// So many bytes can be looked at without asking whether the text ends; the kernel looks back 16.
constexpr ptrdiff_t kMargin = 64;
constexpr ptrdiff_t kLookBack = 16;
constexpr int kMaxIntegerDigits = 18;  // cannot overflow

// What may follow a number.
bool ends_number(char c) { return c == ',' || c == '}' || c == ']' || is_json_space(c); }

// Which bytes a string may have here: printable ASCII but the quote and the backslash.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 0x7f; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

// Compressed counts have backslashes now and then, and JSON doubles them.
bool unescape(const char*& at, const char* end, std::string& text) {
  text.clear();
  while (at < end && *at != '"') {
    if (*at == '\\') {
      if (end - at < 2 || at[1] != '\\') return false;
      ++at;
    } else if (!kPlain[static_cast<unsigned char>(*at)]) {
      return false;
    }
    text += *at++;
  }
  if (at == end) return false;
  ++at;
  return true;
}

enum Field : unsigned {
  kId = 1,
  kImageId = 2,
  kCategoryId = 4,
  kCrowd = 8,
  kArea = 16,
  kBox = 32,
  kSegmentation = 64,
  kWidth = 128,
  kHeight = 256,
  kFileName = 512,
};

}  // namespace

RecordScanner::RecordScanner(std::string_view text, const NumberKernel& kernel)
    : begin_(text.data()),
      end_(text.data() + text.size()),
      read_hundredths_(kernel.read_hundredths),
      numbers_(std::make_unique_for_overwrite<Numbers>()) {}

void RecordScanner::skip_space() {
  while (at_ < end_ && is_json_space(*at_)) ++at_;
}

bool RecordScanner::accept(char wanted) {
  skip_space();
  if (at_ == end_ || *at_ != wanted) return false;
  ++at_;
  return true;
}

bool RecordScanner::integer(int64_t& value) {
  if (end_ - at_ < kMargin) return false;
  const char* at = at_;
  const bool negative = *at == '-';
  if (negative) ++at;
  const char* digits = at;
  int64_t number = 0;
  for (; is_json_digit(*at); ++at) {
    if (at - digits == kMaxIntegerDigits) return false;
    number = number * 10 + (*at - '0');
  }
  if (at == digits || (at - digits > 1 && *digits == '0') || !ends_number(*at)) return false;
  value = negative ? -number : number;
  at_ = at;
  return true;
}

bool RecordScanner::real(double& value) {
  const auto number = read_json_number(at_, end_);
  if (!number || number->end == end_ || !ends_number(*number->end)) return false;
  value = number->value;
  at_ = number->end;
  return true;
}

bool RecordScanner::string(std::string_view& value) {
  if (at_ == end_ || *at_ != '"') return false;
  const char* first = at_ + 1;
  const char* last = first;
  while (last < end_ && kPlain[static_cast<unsigned char>(*last)]) ++last;
  if (last == end_ || *last != '"') return false;
  value = std::string_view(first, static_cast<size_t>(last - first));
  at_ = last + 1;
  return true;
}

bool RecordScanner::flag(bool& value) {
  int64_t number = 0;
  if (!integer(number) || number < 0 || number > 1) return false;
  value = number == 1;
  return true;
}

// The value of a key that nobody asks for.
bool RecordScanner::skip_scalar() {
  if (end_ - at_ < kMargin) return false;
  for (const std::string_view literal : {"null", "true", "false"}) {
    if (std::memcmp(at_, literal.data(), literal.size()) != 0) continue;
    at_ += literal.size();
    return ends_number(*at_);
  }
  std::string_view text;
  double number = 0;
  return *at_ == '"' ? string(text) : real(number);
}

// visit(key) for each field, at_ standing at its value.
template <typename Visit>
bool RecordScanner::object(Visit&& visit) {
  if (!accept('{')) return false;
  skip_space();
  for (;;) {
    std::string_view key;
    if (end_ - at_ < kMargin || !string(key) || !accept(':')) return false;
    skip_space();
    if (!visit(key)) return false;
    skip_space();
    if (end_ - at_ < kMargin) return false;
    if (*at_ == '}') break;
    if (*at_ != ',') return false;
    ++at_;
    skip_space();
  }
  ++at_;
  return true;
}

size_t RecordScanner::image(size_t at, ScannedImage& record) {
  at_ = begin_ + at;
  unsigned seen = 0;
  const auto first_time = [&](unsigned field) {
    const bool is_new = (seen & field) == 0;
    seen |= field;
    return is_new;
  };
  const bool good = object([&](std::string_view key) {
    if (key == "id") return first_time(kId) && integer(record.id);
    if (key == "width") return first_time(kWidth) && integer(record.width);
    if (key == "height") return first_time(kHeight) && integer(record.height);
    if (key == "file_name") return first_time(kFileName) && string(record.file_name);
    return skip_scalar();
  });
  if (!good || seen != (kId | kWidth | kHeight | kFileName)) return 0;
  return static_cast<size_t>(at_ - begin_);
}

bool RecordScanner::annotation_field(std::string_view key,
                                     unsigned& seen,
                                     PackedAnnotation& record,
                                     PackedShapes& shapes) {
  const auto first_time = [&](unsigned field) {
    const bool is_new = (seen & field) == 0;
    seen |= field;
    return is_new;
  };
  if (key == "segmentation") return first_time(kSegmentation) && segmentation(record, shapes);
  if (key == "area") return first_time(kArea) && real(record.area);
  if (key == "iscrowd") return first_time(kCrowd) && flag(record.crowd);
  if (key == "image_id") return first_time(kImageId) && integer(record.image_id);
  if (key == "bbox") return first_time(kBox) && box(record);
  if (key == "category_id") return first_time(kCategoryId) && integer(record.category_id);
  if (key == "id") return first_time(kId) && integer(record.id);
  return skip_scalar();
}

size_t RecordScanner::annotation(size_t at, PackedAnnotation& record, PackedShapes& shapes) {
  at_ = begin_ + at;
  record = {};
  const std::array sizes = {
      shapes.polygons.size(), shapes.coordinates.size(), shapes.masks.size(), shapes.runs.size()};
  unsigned seen = 0;
  const bool good =
      object([&](std::string_view key) { return annotation_field(key, seen, record, shapes); });
  constexpr unsigned kNeeded = kId | kImageId | kCategoryId;
  if (!good || (seen & kNeeded) != kNeeded) {
    shapes.polygons.resize(sizes[0]);
    shapes.coordinates.resize(sizes[1]);
    shapes.masks.resize(sizes[2]);
    shapes.runs.resize(sizes[3]);
    return 0;
  }
  record.has_area = (seen & kArea) != 0;
  record.has_box = (seen & kBox) != 0;
  return static_cast<size_t>(at_ - begin_);
}

bool RecordScanner::box(PackedAnnotation& record) {
  if (at_ == end_ || *at_ != '[') return false;
  ++at_;
  if (at_ - begin_ >= kLookBack) {
    const auto list = read_hundredths_(at_, end_, numbers_->narrow.data(), numbers_->wide.data());
    if (list.end != nullptr) {
      if (list.count != 4) return false;
      for (size_t i = 0; i < 4; ++i) record.box[i] = numbers_->wide[i] / 100.0;
      at_ = list.end + 1;
      return true;
    }
  }
  for (size_t i = 0; i < 4; ++i) {
    if (i > 0 && !accept(',')) return false;
    skip_space();
    if (!real(record.box[i])) return false;
  }
  return accept(']');
}

bool RecordScanner::segmentation(PackedAnnotation& record, PackedShapes& shapes) {
  if (at_ == end_) return false;
  if (*at_ == '{') return mask(record, shapes);
  if (*at_ != '[') return false;
  ++at_;
  if (accept(']')) return true;  // "no mask"
  record.kind = SegmentationKind::kPolygons;
  record.first_part = static_cast<uint32_t>(shapes.polygons.size());
  do {
    skip_space();
    if (!polygon(shapes)) return false;
    ++record.part_count;
  } while (accept(','));
  return accept(']');
}

bool RecordScanner::polygon(PackedShapes& shapes) {
  if (at_ == end_ || *at_ != '[') return false;
  ++at_;
  if (at_ - begin_ < kLookBack) return polygon_of_doubles(shapes);
  const auto list = read_hundredths_(at_, end_, numbers_->narrow.data(), numbers_->wide.data());
  if (list.end == nullptr) return polygon_of_doubles(shapes);
  if (list.narrow) {
    shapes.add_hundredths(std::span(numbers_->narrow).first(list.count));
  } else {
    shapes.add_hundredths(std::span(numbers_->wide).first(list.count));
  }
  at_ = list.end + 1;
  return true;
}

bool RecordScanner::polygon_of_doubles(PackedShapes& shapes) {
  doubles_.clear();
  if (!accept(']')) {
    do {
      skip_space();
      if (!real(doubles_.emplace_back())) return false;
    } while (accept(','));
    if (!accept(']')) return false;
  }
  shapes.add_polygon(doubles_);
  return true;
}

bool RecordScanner::runs() {
  runs_.clear();
  if (accept(']')) return true;
  do {
    skip_space();
    int64_t run = 0;
    if (!integer(run) || run < 0 || run > std::numeric_limits<uint32_t>::max()) return false;
    runs_.push_back(static_cast<uint32_t>(run));
  } while (accept(','));
  return accept(']');
}

bool RecordScanner::mask(PackedAnnotation& record, PackedShapes& shapes) {
  enum { kNone, kList, kText } form = kNone;
  int64_t height = 0;
  int64_t width = 0;
  const bool good = object([&](std::string_view key) {
    if (key == "counts" && form == kNone) {
      form = *at_ == '[' ? kList : kText;
      if (*at_ != '[' && *at_ != '"') return false;
      ++at_;
      return form == kList ? runs() : unescape(at_, end_, unescaped_);
    }
    if (key == "size" && height == 0) {
      if (!accept('[')) return false;
      skip_space();
      if (!integer(height) || !accept(',')) return false;
      skip_space();
      return integer(width) && accept(']');
    }
    return false;
  });
  const auto is_side = [](int64_t side) { return side >= 1 && side <= kMaxImageSide_px; };
  if (!good || form == kNone || !is_side(height) || !is_side(width)) return false;
  const auto h = static_cast<uint32_t>(height);
  const auto w = static_cast<uint32_t>(width);
  auto rle = form == kList ? rle_from_counts(runs_, h, w) : rle_from_string(unescaped_, h, w);
  if (!rle) return false;
  record.kind = SegmentationKind::kRle;
  record.first_part = static_cast<uint32_t>(shapes.masks.size());
  record.part_count = 1;
  shapes.add_mask(*rle);
  return true;
}

}  // namespace atl::dataset
