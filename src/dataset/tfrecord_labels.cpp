#include "dataset/tfrecord_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace atl::dataset {
namespace {

// Unknown messages inside an item may be nested; nobody's are deeper.
constexpr int kMaxDepth = 32;

bool is_name_byte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-' ||
         c == '+';
}

// Protobuf's text format, as far as label maps use it.
class TextReader {
 public:
  explicit TextReader(std::string_view text) : rest_(text) {}

  Result<std::vector<LabelMapItem>> items() {
    std::vector<LabelMapItem> items;
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
    while (skip_space(), !rest_.empty()) {
      const std::string_view field = ATOLL_TRY(name());
      if (field == "item") {
        items.push_back(ATOLL_TRY(item()));
      } else {
        ATOLL_TRY(skip_field(0));
      }
      accept_separator();
    }
    return items;
  }

 private:
  tl::unexpected<Error> bad(std::string_view what) const {
    return fail(ErrorCode::kInvalidInput, fmt::format("line {}: {}", line_, what));
  }

  void advance(size_t count) {
    line_ += std::count(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(count), '\n');
    rest_.remove_prefix(count);
  }
  void skip_space() {
    while (!rest_.empty()) {
      if (rest_.front() == '#') {
        advance(std::min(rest_.find('\n'), rest_.size()));
      } else if (std::isspace(static_cast<unsigned char>(rest_.front())) != 0) {
        advance(1);
      } else {
        return;
      }
    }
  }
  bool accept(char wanted) {
    skip_space();
    if (rest_.empty() || rest_.front() != wanted) return false;
    advance(1);
    return true;
  }
  void accept_separator() {
    if (!accept(',')) accept(';');
  }

  // A field's name, or a scalar that is no string.
  Result<std::string_view> name() {
    skip_space();
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_name_byte);
    const auto size = static_cast<size_t>(end - rest_.begin());
    if (size == 0) {
      return bad(rest_.empty() ? "the text ends in the middle of an item" : "expected a name");
    }
    const auto found = rest_.substr(0, size);
    advance(size);
    return found;
  }

  // Adjacent literals are one string.
  Result<std::string> string() {
    std::string value;
    skip_space();
    if (rest_.empty() || (rest_.front() != '"' && rest_.front() != '\'')) {
      return bad("expected a string in quotes");
    }
    while (skip_space(), !rest_.empty() && (rest_.front() == '"' || rest_.front() == '\'')) {
      const char quote = rest_.front();
      advance(1);
      while (true) {
        if (rest_.empty() || rest_.front() == '\n') return bad("a string without its end");
        const char c = rest_.front();
        advance(1);
        if (c == quote) break;
        if (c == '\\') {
          value += ATOLL_TRY(escape());
        } else {
          value += c;
        }
      }
    }
    return value;
  }

  Result<std::string> escape() {
    if (rest_.empty()) return bad("a string without its end");
    const char c = rest_.front();
    static constexpr std::string_view kNames = "abfnrtv\\'\"?";
    static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"?";
    if (const size_t at = kNames.find(c); at != std::string_view::npos) {
      advance(1);
      return std::string(1, kValues[at]);
    }
    const bool hexadecimal = c == 'x' || c == 'X';
    const auto digits = hexadecimal ? rest_.substr(1, 2) : rest_.substr(0, 3);
    unsigned value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 8);
    if (error != std::errc() || value > 255) return bad(fmt::format("the escape '\\{}'", c));
    advance(static_cast<size_t>(end - digits.data()) + (hexadecimal ? 1 : 0));
    return std::string(1, static_cast<char>(value));
  }

  Result<int64_t> integer() {
    const std::string_view text = ATOLL_TRY(name());
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      return bad(fmt::format("\"{}\" is no whole number", text));
    }
    return value;
  }

  Result<LabelMapItem> item() {
    accept(':');
    const int64_t begin_line = line_;
    const char close = accept('{') ? '}' : accept('<') ? '>' : '\0';
    if (close == '\0') return bad("expected '{' after item");
    LabelMapItem item;
    bool has_id = false;
    while (!accept(close)) {
      const std::string_view field = ATOLL_TRY(name());
      if (field == "id" && accept(':')) {
        item.id = ATOLL_TRY(integer());
        has_id = true;
      } else if ((field == "name" || field == "display_name") && accept(':')) {
        (field == "name" ? item.name : item.display_name) = ATOLL_TRY(string());
      } else {
        ATOLL_TRY(skip_field(1));
      }
      accept_separator();
    }
    if (!has_id || item.shown().empty()) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("line {}: an item without {}", begin_line, has_id ? "name" : "id"));
    }
    return item;
  }

  // What stands behind the name of a field that is of no interest.
  Result<void> skip_field(int depth) {
    if (depth > kMaxDepth) return bad("messages nested too deeply");
    const bool colon = accept(':');
    if (accept('[')) {
      while (!accept(']')) {
        ATOLL_TRY(skip_value(depth));
        accept(',');
      }
      return {};
    }
    skip_space();
    const bool message = !rest_.empty() && (rest_.front() == '{' || rest_.front() == '<');
    if (!colon && !message) return bad("expected ':' or '{'");
    return skip_value(depth);
  }

  Result<void> skip_value(int depth) {
    skip_space();
    if (!rest_.empty() && (rest_.front() == '"' || rest_.front() == '\'')) {
      ATOLL_TRY(string());
      return {};
    }
    const char close = accept('{') ? '}' : accept('<') ? '>' : '\0';
    if (close == '\0') {
      ATOLL_TRY(name());
      return {};
    }
    while (!accept(close)) {
      ATOLL_TRY(name());
      ATOLL_TRY(skip_field(depth + 1));
      accept_separator();
    }
    return {};
  }

  std::string_view rest_;
  int64_t line_ = 1;
};

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\'' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\{:03o}", byte);
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace

Result<LabelMap> LabelMap::parse(std::string_view text) {
  LabelMap map;
  map.items_ = ATOLL_TRY(TextReader(text).items());
  std::ranges::stable_sort(map.items_, {}, &LabelMapItem::id);
  const auto twice = std::ranges::adjacent_find(map.items_, {}, &LabelMapItem::id);
  if (twice != map.items_.end()) {
    return fail(ErrorCode::kInvalidInput, fmt::format("the id {} appears twice", twice->id));
  }
  return map;
}

const LabelMapItem* LabelMap::find(int64_t id) const {
  const auto found = std::ranges::lower_bound(items_, id, {}, &LabelMapItem::id);
  return found != items_.end() && found->id == id ? &*found : nullptr;
}

std::optional<int64_t> LabelMap::id_of(std::string_view name) const {
  std::optional<int64_t> id;
  for (const LabelMapItem& item : items_) {
    if (item.name != name && item.display_name != name) continue;
    if (id) return std::nullopt;
    id = item.id;
  }
  return id;
}

std::string label_map_text(std::span<const Category> categories) {
  std::string text;
  for (const Category& category : categories) {
    fmt::format_to(std::back_inserter(text),
                   "item {{\n  id: {}\n  name: {}\n}}\n",
                   category.id,
                   quoted(category.name));
  }
  return text;
}

}  // namespace atl::dataset
