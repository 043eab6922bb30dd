#include "job/nodelist.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "job/address.h"
#include "job/place.h"
#include "job/variables.h"

namespace atl::job {
namespace {

constexpr size_t kMostHosts = kMaxNodes;
constexpr size_t kLongestNumber = 9;  // digits: more would count beyond every cluster
constexpr size_t kMostBrackets = 8;   // of one name

tl::unexpected<Error> wrong(std::string_view text, std::string_view why) {
  return refuse(fmt::format("\"{}\": {}", shown(text), why));
}

tl::unexpected<Error> too_many(std::string_view text) {
  return wrong(text, fmt::format("these are more than {} hosts", kMostHosts));
}

// The pieces between commas; commas in brackets do not part.
Result<std::vector<std::string_view>> split(std::string_view text) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  bool inside = false;
  for (size_t at = 0; at <= text.size(); ++at) {
    const char c = at < text.size() ? text[at] : ',';
    if (c == '[' && inside) return wrong(text, "a bracket opens within a bracket");
    if (c == ']' && !inside) return wrong(text, "a bracket closes that was not opened");
    if (c == '[') inside = true;
    if (c == ']') inside = false;
    if (at == text.size() && inside) return wrong(text, "a bracket is not closed");
    if (c != ',' || inside) continue;
    if (at == begin) return wrong(text, "there is nothing between two commas");
    parts.push_back(text.substr(begin, at - begin));
    if (parts.size() > kMostHosts) return too_many(text);
    begin = at + 1;
  }
  return parts;
}

// Adds the numbers of "001-003" or "7".
Result<void> add_range(std::string_view text, std::vector<std::string>& numbers) {
  const size_t dash = text.find('-');
  const std::string_view first = text.substr(0, dash);
  const std::string_view last = dash == std::string_view::npos ? first : text.substr(dash + 1);
  const auto number = [](std::string_view digits) -> std::optional<int64_t> {
    return digits.size() > kLongestNumber ? std::nullopt : parse_number(digits, 0, INT64_MAX);
  };
  const auto low = number(first), high = number(last);
  if (!low || !high) {
    return wrong(text, "in brackets belong numbers and ranges of at most 9 digits");
  }
  if (*low > *high) return wrong(text, "the range runs backwards");
  if (static_cast<size_t>(*high - *low) >= kMostHosts - std::min(numbers.size(), kMostHosts)) {
    return too_many(text);
  }
  for (int64_t n = *low; n <= *high; ++n) {
    numbers.push_back(fmt::format("{:0{}}", n, first.size()));
  }
  return {};
}

// Every name of `names` with every one of `endings` behind it.
Result<std::vector<std::string>> combined(std::string_view text,
                                          const std::vector<std::string>& names,
                                          const std::vector<std::string>& endings) {
  if (names.size() * endings.size() > kMostHosts) return too_many(text);
  std::vector<std::string> all;
  all.reserve(names.size() * endings.size());
  for (const std::string& name : names) {
    for (const std::string& ending : endings) all.push_back(name + ending);
  }
  return all;
}

// One name with its brackets.
Result<std::vector<std::string>> expand_name(std::string_view text) {
  std::vector<std::string> names = {""};
  size_t brackets = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t open = rest.find('[');
    const std::string plain(rest.substr(0, open));
    for (std::string& name : names) name += plain;
    if (open == std::string_view::npos) break;
    if (++brackets > kMostBrackets) return wrong(text, "a name has more than 8 brackets");
    const size_t close = rest.find(']', open);  // split() has seen to it
    std::vector<std::string> numbers;
    const auto ranges = ATOLL_TRY(split(rest.substr(open + 1, close - open - 1)));
    for (const std::string_view range : ranges) ATOLL_TRY(add_range(range, numbers));
    names = ATOLL_TRY(combined(text, names, numbers));
    rest.remove_prefix(close + 1);
  }
  if (!std::ranges::all_of(names, is_host)) return wrong(text, "this is no host's name");
  return names;
}

}  // namespace

Result<std::vector<std::string>> expand_nodelist(std::string_view text) {
  std::vector<std::string> hosts;
  const auto parts = ATOLL_TRY(split(text));
  for (const std::string_view part : parts) {
    const auto names = ATOLL_TRY(expand_name(part));
    if (hosts.size() + names.size() > kMostHosts) return too_many(text);
    hosts.insert(hosts.end(), names.begin(), names.end());
  }
  return hosts;
}

Result<std::vector<int>> expand_tasks_per_node(std::string_view text) {
  std::vector<int> tasks;
  const auto parts = ATOLL_TRY(split(text));
  for (const std::string_view part : parts) {
    const size_t open = part.find("(x");
    const auto count = parse_number(part.substr(0, open), 1, kMaxNodes);
    std::optional<int64_t> times = 1;
    if (open != std::string_view::npos) {
      const std::string_view behind = part.substr(open + 2);
      times = behind.ends_with(')')
                  ? parse_number(behind.substr(0, behind.size() - 1), 1, kMaxNodes)
                  : std::nullopt;
    }
    if (!count || !times) return wrong(text, "this is no list of tasks, as 2(x3),1 is");
    if (tasks.size() + static_cast<size_t>(*times) > kMostHosts) return too_many(text);
    tasks.insert(tasks.end(), static_cast<size_t>(*times), static_cast<int>(*count));
  }
  return tasks;
}

}  // namespace atl::job
