// ~/.aws/config and ~/.aws/credentials: whatever they hold, names are clean, values are trimmed, and a refusal shows
// nothing of the file, which may hold secrets.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "storage/s3/aws_profiles.h"

namespace {

using namespace atl::storage;

void check_properties(const ProfileProperties& properties) {
  constexpr std::string_view kBlanks = " \t\r\f\v";
  for (const auto& [name, value] : properties) {
    ATOLL_CHECK(!name.empty());
    ATOLL_CHECK(name.find('\n') == std::string::npos);
    ATOLL_CHECK(std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; })) << name;
    if (value.empty()) continue;
    ATOLL_CHECK(kBlanks.find(value.front()) == std::string_view::npos);
    ATOLL_CHECK(kBlanks.find(value.back()) == std::string_view::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const ProfileFile kind : {ProfileFile::kConfig, ProfileFile::kCredentials}) {
    const auto parsed = parse_profiles(text, kind, "file");
    if (!parsed) {
      // "file:LINE: " and one of our own sentences.
      ATOLL_CHECK(parsed.error().message.starts_with("file:"));
      ATOLL_CHECK(parsed.error().message.size() < 100) << parsed.error().message;
      continue;
    }
    for (const auto& [name, properties] : parsed->profiles) {
      ATOLL_CHECK(!name.empty());
      check_properties(properties);
    }
    for (const auto& [name, properties] : parsed->services) check_properties(properties);
  }
  return 0;
}
