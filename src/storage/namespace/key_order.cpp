#include "storage/namespace/key_order.h"

#include "storage/key.h"

namespace atl::storage {
namespace {

// The last code point that XML knows. Keys that have it here do no harm, they are only listed, too.
constexpr std::string_view kHighest = "\xf4\x8f\xbf\xbf";

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; }

}  // namespace

const std::string& end_of_keys() {
  static const std::string end(kMaxKeyBytes + 1, '\xff');
  return end;
}

std::string key_after(std::string_view key) {
  std::string after(key);
  after += '\0';
  return after;
}

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (end.empty()) return end_of_keys();
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

std::string just_before(std::string_view key) {
  if (key.empty()) return {};
  std::string before(key);
  const auto last = static_cast<unsigned char>(before.back());
  if (last == 0) {  // key_after() of a key: exact
    before.pop_back();
    return before;
  }
  // The character before this one, where that is one that XML and UTF-8 can hold.
  const bool ascii = last > 0x20 && last < 0x80;
  const bool continued = last > 0x80 && last < 0xc0 && before.size() > 1;
  if (ascii || continued) {
    before.back() = static_cast<char>(last - 1);
    if (before.size() + kHighest.size() <= kMaxKeyBytes) before += kHighest;
    return before;
  }
  while (before.size() > 1 && is_continuation(before.back())) before.pop_back();
  before.pop_back();
  return before;
}

bool can_be_name(std::string_view component) {
  return !component.empty() && component != "." && component != ".." &&
         component.size() <= kMaxComponentBytes && !component.starts_with(kTemporaryPrefix) &&
         component.find('\0') == std::string_view::npos;
}

bool can_be_shown(std::string_view key) {
  if (key.ends_with('/')) key.remove_suffix(1);
  if (key.size() > kMaxKeyBytes) return false;
  for (;;) {
    const size_t end = key.find('/');
    if (!can_be_name(key.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    key.remove_prefix(end + 1);
  }
}

bool can_be_path(std::string_view path) { return !path.ends_with('/') && can_be_shown(path); }

}  // namespace atl::storage
