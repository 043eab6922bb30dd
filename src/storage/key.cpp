#include "storage/key.h"

#include <fmt/format.h>

namespace atl::storage {
namespace {

// Control characters would garble the message, and a hostile key may be very long.
std::string printable(std::string_view key) {
  constexpr size_t kShownBytes = 120;
  std::string text;
  for (const char c : key.substr(0, kShownBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      text += fmt::format("\\x{:02x}", byte);
    } else {
      text += c;
    }
  }
  if (key.size() > kShownBytes) text += "...";
  return text;
}

tl::unexpected<Error> refuse(std::string_view key, std::string_view why) {
  return fail(ErrorCode::kInvalidInput,
              fmt::format("key \"{}\" {}", printable(key), why),
              "keys are relative paths such as train2017/000000000009.jpg");
}

Result<void> check_component(std::string_view key, std::string_view component) {
  if (component.empty()) return refuse(key, "has an empty component");
  if (component == "." || component == "..") {
    return refuse(key, fmt::format("has a \"{}\" component", component));
  }
  if (component.size() > kMaxComponentBytes) {
    return refuse(key, fmt::format("has a component of more than {} bytes", kMaxComponentBytes));
  }
  if (component.starts_with(kTemporaryPrefix)) {
    return refuse(key, fmt::format("has a component that begins with {}", kTemporaryPrefix));
  }
  return {};
}

Result<void> check_whole(std::string_view key) {
  if (key.starts_with('/')) return refuse(key, "is absolute");
  if (key.size() > kMaxKeyBytes) {
    return refuse(key, fmt::format("has more than {} bytes", kMaxKeyBytes));
  }
  if (key.find('\0') != std::string_view::npos) return refuse(key, "has a NUL byte");
  return {};
}

}  // namespace

Result<void> check_key(std::string_view key) {
  if (key.empty()) return refuse(key, "is empty");
  ATOLL_TRY(check_prefix(key));
  return check_component(key, key.substr(key.rfind('/') + 1));  // npos + 1 is 0
}

Result<void> check_prefix(std::string_view prefix) {
  ATOLL_TRY(check_whole(prefix));
  size_t begin = 0;
  for (size_t end = prefix.find('/'); end != std::string_view::npos;
       end = prefix.find('/', begin)) {
    ATOLL_TRY(check_component(prefix, prefix.substr(begin, end - begin)));
    begin = end + 1;
  }
  return {};
}

}  // namespace atl::storage
