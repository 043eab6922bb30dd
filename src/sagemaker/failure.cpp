#include "sagemaker/failure.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "storage/local_store.h"

namespace atl::sagemaker {
namespace {

constexpr std::string_view kSaidByAtoll = "atoll: ";
constexpr std::string_view kLeftOut = " … ";
constexpr size_t kEndBytes = 400;  // kept of the end of a long message: the hint

bool is_inside_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

std::string failure_text(std::string_view message) {
  std::string text = printable(message);
  if (text.size() <= kMaxFailureBytes) return text;
  size_t begin = kMaxFailureBytes - kEndBytes - kLeftOut.size();
  while (is_inside_character(text[begin])) --begin;
  size_t end = text.size() - kEndBytes;
  while (end < text.size() && is_inside_character(text[end])) ++end;
  return fmt::format("{}{}{}", text.substr(0, begin), kLeftOut, text.substr(end));
}

std::string message_of_rank(const std::vector<std::string>& lines, std::string_view how_it_ended) {
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (line->starts_with(kSaidByAtoll)) return line->substr(kSaidByAtoll.size());
  }
  if (lines.empty()) return std::string(how_it_ended);
  return fmt::format("{}: {}", how_it_ended, lines.back());
}

Result<void> write_failure(const Paths& paths, std::string_view message) {
  storage::LocalStore output(paths.output());
  return storage::put_text(output, "failure", failure_text(message));
}

}  // namespace atl::sagemaker
