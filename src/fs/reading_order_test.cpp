#include "fs/reading_order.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/keyed_random.h"

namespace atl::fs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ReadingOrderTest : public testing::Test {
 protected:
  // Files "000", "001", …, whose numbers are in quite another order.
  static std::vector<ReadingOrder::File> files(size_t count) {
    std::vector<ReadingOrder::File> all;
    for (size_t i = 0; i < count; ++i) all.push_back({fmt::format("{:03}", i), mix64(i + 1)});
    return all;
  }
  std::vector<std::string> read(std::string_view name) {
    std::vector<std::string> fetched;
    order_.read(name, [&](const ReadingOrder::File& file) {
      if (fetched.size() == room_) return false;
      fetched.push_back(file.name);
      return true;
    });
    return fetched;
  }
  static std::vector<std::string> by_number(size_t count) {
    auto all = files(count);
    std::ranges::sort(all, {}, &ReadingOrder::File::number);
    std::vector<std::string> names;
    for (const auto& file : all) names.push_back(file.name);
    return names;
  }

  ReadingOrder order_{files(500)};
  size_t room_ = 1000;  // for what one call asks
};

TEST_F(ReadingOrderTest, who_reads_by_name_finds_ever_more_asked_for) {
  EXPECT_THAT(read("010"), IsEmpty());
  EXPECT_THAT(read("011"), ElementsAre("012", "013"));
  EXPECT_THAT(read("012"), ElementsAre("014", "015", "016"));
  EXPECT_THAT(read("013"), ElementsAre("017", "018", "019", "020", "021"));
}

TEST_F(ReadingOrderTest, every_file_but_the_first_two_is_asked_for_once_and_before_it_is_read) {
  for (const auto& names : {by_number(500), [] {
                              std::vector<std::string> sorted;
                              for (const auto& file : files(500)) sorted.push_back(file.name);
                              return sorted;
                            }()}) {
    order_ = ReadingOrder(files(500));
    std::set<std::string> fetched;
    size_t in_time = 0;
    for (const std::string& name : names) {
      in_time += fetched.count(name);
      for (const std::string& ahead : read(name)) {
        EXPECT_TRUE(fetched.insert(ahead).second) << ahead;
      }
    }
    EXPECT_EQ(in_time, 498U);
  }
}

TEST_F(ReadingOrderTest, no_more_than_the_most_are_ahead) {
  std::set<std::string> ahead;
  for (size_t i = 0; i < 400; ++i) {
    const std::string name = fmt::format("{:03}", i);
    ahead.erase(name);
    for (const std::string& fetched : read(name)) ahead.insert(fetched);
    EXPECT_LE(ahead.size(), ReadingOrder::kMostAhead);
  }
  EXPECT_GT(ahead.size(), ReadingOrder::kMostAhead / 2);
}

TEST_F(ReadingOrderTest, threads_that_share_the_work_do_not_break_the_order) {
  std::set<std::string> fetched;
  for (size_t i = 0; i + 4 < 500; i += 4) {
    for (const size_t k : {2, 0, 3, 1}) {
      for (const std::string& ahead : read(fmt::format("{:03}", i + k))) {
        EXPECT_TRUE(fetched.insert(ahead).second) << ahead;
      }
    }
  }
  EXPECT_GT(fetched.size(), 480U);
}

TEST_F(ReadingOrderTest, what_had_no_room_is_asked_for_again) {
  (void)read("010");
  room_ = 1;
  EXPECT_THAT(read("011"), ElementsAre("012"));
  EXPECT_THAT(read("012"), ElementsAre("013"));
  room_ = 100;
  EXPECT_THAT(read("013"), ElementsAre("014", "015", "016", "017", "018", "019", "020", "021"));
}

TEST_F(ReadingOrderTest, a_jump_begins_anew) {
  (void)read("100");
  (void)read("101");
  (void)read("102");
  EXPECT_THAT(read("300"), IsEmpty());
  EXPECT_THAT(read("301"), ElementsAre("302", "303"));
}

TEST_F(ReadingOrderTest,
       the_directory_after_one_that_was_read_to_its_end_is_read_ahead_from_its_first_file) {
  ReadingOrder before(files(20));
  for (const auto& file : files(20)) before.read(file.name, [](const auto&) { return true; });
  order_.go_on_from(before);
  EXPECT_EQ(read("000").size(), ReadingOrder::kMostAhead);
  order_ = ReadingOrder(files(500));
  order_.go_on_from(before);
  EXPECT_THAT(read("100"), IsEmpty());  // not where it begins
  order_ = ReadingOrder(files(500));
  before = ReadingOrder(files(20));
  for (const char* name : {"000", "001", "002"})
    before.read(name, [](const auto&) { return true; });
  order_.go_on_from(before);
  EXPECT_THAT(read("000"), IsEmpty());  // it was left in the middle
}

TEST_F(ReadingOrderTest, who_reads_at_random_gets_little) {
  size_t fetched = 0;
  KeyedRandom random({7});
  for (int i = 0; i < 500; ++i) fetched += read(fmt::format("{:03}", random.next() % 500)).size();
  EXPECT_LT(fetched, 100U);
}

TEST_F(ReadingOrderTest, a_name_that_is_not_there_and_an_empty_directory_are_nothing) {
  EXPECT_FALSE(order_.read("0105", [](const auto&) { return true; }));
  order_ = ReadingOrder({});
  EXPECT_THAT(read("000"), IsEmpty());
}

}  // namespace
}  // namespace atl::fs
