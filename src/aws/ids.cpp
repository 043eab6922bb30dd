#include "aws/ids.h"

#include <algorithm>

namespace atl::aws {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Of letters, digits, and `more`.
bool is_made_of(std::string_view text, std::string_view more) {
  return std::ranges::all_of(text, [more](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
           more.find(c) != std::string_view::npos;
  });
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool is_id(std::string_view text, std::string_view prefix) {
  constexpr size_t kLeast = 8;
  constexpr size_t kMost = 18;
  return take(text, prefix) && text.size() >= kLeast && text.size() <= kMost &&
         std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

}  // namespace

bool is_subnet_id(std::string_view text) { return is_id(text, "subnet-"); }
bool is_security_group_id(std::string_view text) { return is_id(text, "sg-"); }
bool is_file_system_id(std::string_view text) { return is_id(text, "fs-"); }

bool is_role_name(std::string_view text) {
  constexpr size_t kMost = 64;
  return !text.empty() && text.size() <= kMost && is_made_of(text, "_+=,.@-");
}

bool is_role_arn(std::string_view text) {
  constexpr size_t kMost = 2048;
  constexpr size_t kAccountDigits = 12;
  if (text.size() > kMost || !take(text, "arn:aws")) return false;
  const size_t partition = std::min(text.find(':'), text.size());
  if (!is_made_of(text.substr(0, partition), "-")) return false;
  text.remove_prefix(partition);
  if (!take(text, ":iam::") || text.size() < kAccountDigits) return false;
  if (!std::ranges::all_of(text.substr(0, kAccountDigits), is_digit)) return false;
  text.remove_prefix(kAccountDigits);
  if (!take(text, ":role/") || !is_made_of(text, "_+=,.@-/")) return false;
  return is_role_name(text.substr(text.rfind('/') + 1));  // npos + 1 is 0: no path
}

bool is_training_job_name(std::string_view text) {
  constexpr size_t kMost = 63;
  return !text.empty() && text.size() <= kMost && is_made_of(text, "-") && text.front() != '-' &&
         text.back() != '-';
}

}  // namespace atl::aws
