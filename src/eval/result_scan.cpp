// Where the pieces begin is a guess: the text "}, {" ends one record and begins the next, unless it
// stands in a string or deeper in a record. So each piece is read up to the place where the next one
// began, and must arrive at it exactly. The first piece begins at the list's "[" for certain, hence
// the second one does when the first has arrived, and so on: no guess is trusted.
#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/parallel.h"
#include "dataset/json_number.h"
#include "dataset/json_text.h"
#include "eval/result_record.h"

namespace atl::eval::internal {
namespace {

constexpr int kMaxDepth = 64;

// Every member function that returns bool: false where the exact reader must look.
class RecordScanner {
 public:
  RecordScanner(std::string_view text, size_t begin)
      : at_(text.data() + begin), end_(text.data() + text.size()), text_(text.data()) {}

  size_t offset() const { return static_cast<size_t>(at_ - text_); }
  void skip_space() {
    while (at_ < end_ && dataset::is_json_space(*at_)) ++at_;
  }
  bool at_end() const { return at_ == end_; }
  bool accept(char c) {
    skip_space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool record(ResultRecord& record);

 private:
  // visit() reads one element.
  template <typename Visit>
  bool list(Visit visit) {
    if (!accept('[')) return false;
    if (accept(']')) return true;
    do {
      if (!visit()) return false;
    } while (accept(','));
    return accept(']');
  }
  // visit(key) reads the value.
  template <typename Visit>
  bool object(Visit visit) {
    if (!accept('{')) return false;
    if (accept('}')) return true;
    do {
      std::string_view key;
      bool escaped = false;
      if (!string(key, escaped) || escaped || !accept(':') || !visit(key)) return false;
    } while (accept(','));
    return accept('}');
  }

  bool string(std::string_view& value, bool& escaped);
  bool integer(int64_t& value);
  bool real(double& value);
  bool box(ResultRecord& record);
  bool segmentation(ResultRecord& record);
  bool side(uint32_t& value);
  bool skip_value(int depth);
  bool skip_word(std::string_view word);

  const char* at_;
  const char* end_;
  const char* text_;
  MaskTextReader masks_;
};

// The first character from `at` on that ends a string or needs a look: a quote, a backslash, a
// control character, a byte above ASCII. `end` where there is none.
const char* special_character(const char* at, const char* end) {
  const auto is_special = [](char c) { return c == '"' || c == '\\' || c < ' '; };
#if defined(__SSE2__)
  constexpr ptrdiff_t kLane = sizeof(__m128i);
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i space = _mm_set1_epi8(' ');
  for (; end - at >= kLane; at += kLane) {
    const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i special =
        _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(text, quote), _mm_cmpeq_epi8(text, backslash)),
                     _mm_cmplt_epi8(text, space));
    const auto bits = static_cast<unsigned>(_mm_movemask_epi8(special));
    if (bits != 0) return at + std::countr_zero(bits);
  }
#endif
  while (at < end && !is_special(*at)) ++at;
  return at;
}

// Printable ASCII; of escapes "\\" only.
bool RecordScanner::string(std::string_view& value, bool& escaped) {
  if (!accept('"')) return false;
  const char* begin = at_;
  for (;;) {
    at_ = special_character(at_, end_);
    if (at_ == end_) return false;
    if (*at_ == '"') {
      value = {begin, static_cast<size_t>(at_ - begin)};
      ++at_;
      return true;
    }
    if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != '\\') return false;
    escaped = true;
    at_ += 2;
  }
}

bool RecordScanner::integer(int64_t& value) {
  skip_space();
  const char* begin = at_;
  if (at_ < end_ && *at_ == '-') ++at_;
  const char* digits = at_;
  uint64_t magnitude = 0;  // of too many digits something
  while (at_ < end_ && dataset::is_json_digit(*at_)) {
    magnitude = magnitude * 10 + static_cast<uint64_t>(*at_++ - '0');
  }
  const auto count = at_ - digits;
  // 18 digits cannot overflow; what has more, or a fraction, is rare enough.
  if (count < 1 || count > 18 || (count > 1 && *digits == '0')) return false;
  if (at_ < end_ && (*at_ == '.' || *at_ == 'e' || *at_ == 'E')) return false;
  value = begin == digits ? static_cast<int64_t>(magnitude) : -static_cast<int64_t>(magnitude);
  return true;
}

bool RecordScanner::real(double& value) {
  skip_space();
  const auto number = dataset::read_json_number(at_, end_);
  if (!number) return false;
  value = number->value;
  at_ = number->end;
  return true;
}

bool RecordScanner::box(ResultRecord& record) {
  size_t count = 0;
  const bool read = list([&] { return count < 4 && real(record.box[count++]); });
  record.has_box = count == 4;
  return read && (count == 0 || count == 4);
}

bool RecordScanner::side(uint32_t& value) {
  int64_t number = 0;
  if (!integer(number) || number < 0 || number > int64_t{0xffffffff}) return false;
  value = static_cast<uint32_t>(number);
  return true;
}

// {"size": [height, width], "counts": "…"}
bool RecordScanner::segmentation(ResultRecord& record) {
  bool has_size = false;
  std::string_view counts;
  const bool read = object([&](std::string_view key) {
    if (key == "size") {
      if (has_size || !accept('[') || !side(record.height) || !accept(',') || !side(record.width) ||
          !accept(']')) {
        return false;
      }
      has_size = true;
      return true;
    }
    if (key != "counts") return skip_value(0);
    return counts.data() == nullptr && string(counts, record.escaped);
  });
  // A mask without any counts is too rare to think about here.
  if (!read || !has_size || counts.empty() || counts.size() > 0xffffffff) return false;
  const auto unpacked = masks_.read(counts, record.escaped, record.height, record.width);
  if (!unpacked) return false;
  record.extent = mask_extent(*unpacked, record.height, record.width);
  record.counts = counts.data();
  record.counts_size = static_cast<uint32_t>(counts.size());
  record.has_mask = true;
  return true;
}

bool RecordScanner::skip_word(std::string_view word) {
  if (static_cast<size_t>(end_ - at_) < word.size() ||
      std::memcmp(at_, word.data(), word.size()) != 0) {
    return false;
  }
  at_ += word.size();
  return true;
}

bool RecordScanner::skip_value(int depth) {
  skip_space();
  if (at_ == end_ || depth == kMaxDepth) return false;
  std::string_view text;
  bool escaped = false;
  double number = 0;
  switch (*at_) {
    case '"':
      return string(text, escaped);
    case '[':
      return list([&] { return skip_value(depth + 1); });
    case '{':
      return object([&](std::string_view) { return skip_value(depth + 1); });
    case 't':
      return skip_word("true");
    case 'f':
      return skip_word("false");
    case 'n':
      return skip_word("null");
    default:
      return real(number);
  }
}

bool RecordScanner::record(ResultRecord& record) {
  enum : unsigned { kImage = 1, kCategory = 2, kScore = 4, kBox = 8, kMask = 16 };
  unsigned seen = 0;
  const auto first = [&](unsigned key) { return (std::exchange(seen, seen | key) & key) == 0; };
  const bool read = object([&](std::string_view key) {
    if (key == "image_id") return first(kImage) && integer(record.image_id);
    if (key == "category_id") return first(kCategory) && integer(record.category_id);
    if (key == "score") return first(kScore) && real(record.score);
    if (key == "bbox") return first(kBox) && box(record);
    if (key == "segmentation") return first(kMask) && segmentation(record);
    return skip_value(0);
  });
  return read && (seen & (kImage | kCategory | kScore)) == (kImage | kCategory | kScore);
}

// The records of [begin, end), `end` being where the next piece begins, or the end of the text.
bool scan_piece(std::string_view text,
                size_t begin,
                size_t end,
                std::vector<ResultRecord>& records) {
  RecordScanner scanner(text, begin);
  const bool last = end == text.size();
  records.reserve((end - begin) / 256);
  for (;;) {
    if (!scanner.record(records.emplace_back())) return false;
    if (!scanner.accept(',')) break;
    scanner.skip_space();
    if (!last && scanner.offset() >= end) return scanner.offset() == end;
  }
  if (!last || !scanner.accept(']')) return false;
  scanner.skip_space();
  return scanner.at_end();
}

}  // namespace

std::optional<RecordLists> scan_results(std::string_view text, int threads, size_t piece_bytes) {
  size_t begin = dataset::skip_json_space(text, 0);
  if (begin == text.size() || text[begin] != '[') return std::nullopt;
  begin = dataset::skip_json_space(text, begin + 1);
  if (begin == text.size() || text[begin] != '{') return std::nullopt;

  std::vector<size_t> begins = {begin};
  for (size_t from = begin + piece_bytes; from < text.size(); from += piece_bytes) {
    if (from < begins.back()) continue;
    const size_t at = dataset::likely_record(text, from);
    if (at == std::string_view::npos) break;
    begins.push_back(at);
  }
  begins.push_back(text.size());
  RecordLists lists(begins.size() - 1);
  std::atomic<bool> understood = true;
  parallel_for(lists.size(), threads, 1, [&](size_t first, size_t last) {
    for (size_t i = first; i < last && understood; ++i) {
      if (!scan_piece(text, begins[i], begins[i + 1], lists[i])) understood = false;
    }
  });
  if (!understood) return std::nullopt;
  return lists;
}

}  // namespace atl::eval::internal
