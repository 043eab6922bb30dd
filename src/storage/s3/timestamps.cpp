#include "storage/s3/timestamps.h"

#include <cstdint>

namespace atl::storage {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Takes what it reads off the front.
class TimeReader {
 public:
  explicit TimeReader(std::string_view text) : rest_(text) {}

  std::optional<int> digits(size_t count) {
    if (rest_.size() < count) return std::nullopt;
    int number = 0;
    for (const char c : rest_.substr(0, count)) {
      if (!is_digit(c)) return std::nullopt;
      number = 10 * number + (c - '0');
    }
    rest_.remove_prefix(count);
    return number;
  }

  bool take_one_of(std::string_view characters) {
    if (rest_.empty() || characters.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // ".123", or nothing.
  std::optional<std::chrono::nanoseconds> fraction() {
    if (!take_one_of(".")) return std::chrono::nanoseconds(0);
    if (rest_.empty() || !is_digit(rest_.front())) return std::nullopt;
    int64_t nanoseconds = 0;
    for (int64_t unit = 100'000'000; !rest_.empty() && is_digit(rest_.front()); unit /= 10) {
      nanoseconds += unit * (rest_.front() - '0');
      rest_.remove_prefix(1);
    }
    return std::chrono::nanoseconds(nanoseconds);
  }

  // "Z" or "+01:30".
  std::optional<std::chrono::minutes> offset() {
    if (take_one_of("Zz")) return std::chrono::minutes(0);
    const bool west = rest_.starts_with('-');
    if (!take_one_of("+-")) return std::nullopt;
    const auto hours = digits(2);
    if (!hours || !take_one_of(":")) return std::nullopt;
    const auto minutes = digits(2);
    if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
    const std::chrono::minutes offset(60 * *hours + *minutes);
    return west ? -offset : offset;
  }

  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace

std::optional<std::chrono::system_clock::time_point> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  TimeReader reader(text);
  const auto year_number = reader.digits(4);
  if (!year_number || !reader.take_one_of("-")) return std::nullopt;
  const auto month_number = reader.digits(2);
  if (!month_number || !reader.take_one_of("-")) return std::nullopt;
  const auto day_number = reader.digits(2);
  if (!day_number || !reader.take_one_of("Tt ")) return std::nullopt;
  const auto hour = reader.digits(2);
  if (!hour || !reader.take_one_of(":")) return std::nullopt;
  const auto minute = reader.digits(2);
  if (!minute || !reader.take_one_of(":")) return std::nullopt;
  const auto second = reader.digits(2);
  if (!second) return std::nullopt;
  const auto fraction = reader.fraction();
  if (!fraction) return std::nullopt;
  const auto offset = reader.offset();
  if (!offset || !reader.at_end()) return std::nullopt;

  // What a clock of 64-bit nanoseconds holds lies between 1677 and 2262. 60 is a leap second.
  constexpr int kFirstYear = 1678, kLastYear = 2261;
  const year_month_day date(year(*year_number),
                            month(static_cast<unsigned>(*month_number)),
                            day(static_cast<unsigned>(*day_number)));
  if (!date.ok() || *year_number < kFirstYear || *year_number > kLastYear || *hour > 23 ||
      *minute > 59 || *second > 60) {
    return std::nullopt;
  }
  return sys_days(date) + hours(*hour) + minutes(*minute) + seconds(*second) - *offset +
         duration_cast<system_clock::duration>(*fraction);
}

}  // namespace atl::storage
