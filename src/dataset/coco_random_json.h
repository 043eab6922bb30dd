// COCO JSON as nobody should write it, for tests: every key order, spacing and form of number, now
// and then something wrong.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/keyed_random.h"

namespace atl::dataset {

class RandomJson {
 public:
  // `faults`: of a hundred records, so many are spoilt.
  RandomJson(uint64_t seed, uint64_t faults)
      : random_({seed}), faults_(faults), space_(random_.below(3)) {}

  std::string document() {
    std::vector<std::string> sections = {
        list("images", 12, [&](int64_t i) { return image(i); }),
        list("annotations", 40, [&](int64_t i) { return annotation(i); }),
        list("categories", 4, [&](int64_t i) { return category(i); })};
    if (chance(30)) sections.push_back(R"("info": {"x": [{"y": "}, {"}, {"z": null}]})");
    return '{' + joined(shuffled(std::move(sections))) + '}' + (chance(10) ? "\n" : "");
  }

 private:
  bool chance(uint64_t percent) { return random_.below(100) < percent; }
  bool fault() { return random_.below(1000) < faults_; }
  std::string one_of(std::vector<std::string> choices) {
    return choices[random_.below(choices.size())];
  }
  std::vector<std::string> shuffled(std::vector<std::string> items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random_.below(i)]);
    return items;
  }
  // One style nearly everywhere, as a program writes it.
  std::string comma() {
    if (chance(1)) return " ,\n ";
    return space_ == 0 ? "," : ", ";
  }
  std::string joined(const std::vector<std::string>& items) {
    std::string text;
    for (size_t i = 0; i < items.size(); ++i) text += (i > 0 ? comma() : "") + items[i];
    return text;
  }
  std::string field(const std::string& key, const std::string& value) {
    return '"' + key + (space_ == 2 ? "\" : " : "\":") + value;
  }
  std::string object(std::vector<std::string> fields) {
    if (chance(20)) fields = shuffled(std::move(fields));
    return '{' + joined(fields) + '}';
  }
  template <typename Make>
  std::string list(const std::string& key, int64_t count, Make make) {
    std::vector<std::string> items;
    for (int64_t i = 0; i < count; ++i) items.push_back(make(i));
    return field(key, '[' + joined(items) + ']');
  }

  std::string number() {
    if (fault())
      return one_of({"-", "01.5", "1.", ".5", "NaN", "1e999", "\"7\"", "null", "1 2", ""});
    const uint64_t kind = random_.below(100);
    if (kind < 50) return fmt::format("{:.2f}", random_.uniform() * 640);
    if (kind < 70) return fmt::format("{}", random_.below(640));
    if (kind < 80) return fmt::format("{:.1f}", random_.uniform() * 20);
    // Of these one in a polygon sends all of it another way.
    if (kind < 98) return fmt::format("{:.2f}", random_.uniform() * 10);
    return one_of({fmt::format("{}", random_.uniform() * 100),
                   fmt::format("-{:.2f}", random_.uniform()),
                   fmt::format("{:.2f}", random_.uniform() * 900000),
                   "1.5e2",
                   "-0.0",
                   "0.0",
                   "1234567.25",
                   "0.10000000000000000555"});
  }
  std::string numbers(uint64_t count) {
    std::vector<std::string> items;
    for (uint64_t i = 0; i < count; ++i) items.push_back(number());
    return '[' + joined(items) + ']';
  }

  std::string image(int64_t index) {
    std::vector<std::string> fields = {
        field("id", fmt::format("{}", image_id(fault() ? index + 1 : index))),
        field("width", fmt::format("{}", fault() ? 0 : 20)),
        field("height", fault() ? "10.5" : "10"),
        field("file_name", one_of({"\"a.jpg\"", "\"b c.png\"", "\"n\\u00e4.jpg\"", "\"ü.jpg\""}))};
    if (chance(50)) fields.push_back(field("date", "\"2013-11-14 17:02:52\""));
    if (chance(20))
      fields.push_back(field("license", one_of({"3", "null", "[1]", "true", "-1.5e3"})));
    if (fault()) fields.erase(fields.begin());
    return object(std::move(fields));
  }
  // Holes, 0, large ones.
  int64_t image_id(int64_t index) const { return index == 11 ? 900100000001 : index * 3; }

  std::string category(int64_t index) {
    return object({field("id", fmt::format("{}", index * 2)), field("name", "\"c\"")});
  }

  std::string segmentation() {
    if (chance(80)) {
      std::vector<std::string> polygons;
      for (uint64_t count = 1 + random_.below(3); count > 0; --count) {
        polygons.push_back(numbers(fault() ? random_.below(6) : 2 * (3 + random_.below(40))));
      }
      return '[' + joined(polygons) + ']';
    }
    const std::string size = fault() ? "[20, 10]" : "[10, 20]";
    const std::string counts =
        one_of({"[50, 50, 100]", "[200]", "[0, 199, 1]", "\"b1b1T3\"", "\"h6\""});
    return object({field("counts", fault() ? "[3]" : counts), field("size", size)});
  }

  std::string annotation(int64_t index) {
    std::vector<std::string> fields = {
        field("segmentation", chance(95) ? segmentation() : one_of({"[]", "null"})),
        field("area", chance(99) ? fmt::format("{}", random_.uniform() * 1000) : "null"),
        field("iscrowd", one_of({"0", "0", "0", "1", fault() ? "2" : "false"})),
        field("image_id", fmt::format("{}", image_id(static_cast<int64_t>(random_.below(12))))),
        field("bbox", fault() ? numbers(3) : numbers(4)),
        field("category_id", fmt::format("{}", random_.below(4) * 2 + (fault() ? 1 : 0))),
        field("id", fmt::format("{}", fault() ? 0 : index))};
    if (chance(10)) fields.push_back(field("attributes", R"({"a": [{"b": 1}, {"c": "}, {"}]})"));
    if (chance(10)) fields.push_back(field("score", number()));
    if (fault()) fields.push_back(fields[random_.below(fields.size())]);
    if (fault() || chance(1))
      fields.erase(fields.begin() + static_cast<ptrdiff_t>(random_.below(7)));
    return object(std::move(fields));
  }

  KeyedRandom random_;
  uint64_t faults_;
  uint64_t space_;
};

}  // namespace atl::dataset
