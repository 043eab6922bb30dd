#include "job/nodelist.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job/place.h"

namespace atl::job {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> hosts(const std::string& text) {
  const auto expanded = expand_nodelist(text);
  return expanded ? *expanded : std::vector<std::string>{expanded.error().to_string()};
}
std::string error(const std::string& text) {
  const auto expanded = expand_nodelist(text);
  return expanded ? "no error" : expanded.error().to_string();
}

TEST(Nodelist, names_numbers_and_ranges_come_in_the_order_of_the_list) {
  EXPECT_THAT(hosts("cn1"), ElementsAre("cn1"));
  EXPECT_THAT(hosts("gpu[001-003,7],login"),
              ElementsAre("gpu001", "gpu002", "gpu003", "gpu7", "login"));
  EXPECT_THAT(hosts("a,b-1.cluster.example,c_2"), ElementsAre("a", "b-1.cluster.example", "c_2"));
  EXPECT_THAT(hosts("n[9-11]"), ElementsAre("n9", "n10", "n11"));
  EXPECT_THAT(hosts("n[09-11]"), ElementsAre("n09", "n10", "n11"));
  EXPECT_THAT(hosts("25a-hgpn026"), ElementsAre("25a-hgpn026"));
  EXPECT_THAT(hosts("gnode[10,20,25,37]"), ElementsAre("gnode10", "gnode20", "gnode25", "gnode37"));
}

TEST(Nodelist, several_brackets_multiply_and_the_last_turns_fastest) {
  EXPECT_THAT(hosts("r[1-2]n[01-02]-ib"),
              ElementsAre("r1n01-ib", "r1n02-ib", "r2n01-ib", "r2n02-ib"));
}

TEST(Nodelist, what_is_no_list_is_refused) {
  EXPECT_THAT(error(""), HasSubstr("nothing between two commas"));
  EXPECT_THAT(error("a,,b"), HasSubstr("nothing between two commas"));
  EXPECT_THAT(error("a,"), HasSubstr("nothing between two commas"));
  EXPECT_THAT(error("a[]"), HasSubstr("nothing between two commas"));
  EXPECT_THAT(error("a[1"), HasSubstr("is not closed"));
  EXPECT_THAT(error("a]1"), HasSubstr("closes that was not opened"));
  EXPECT_THAT(error("a[[1]]"), HasSubstr("opens within a bracket"));
  EXPECT_THAT(error("a[x-z]"), HasSubstr("numbers and ranges"));
  EXPECT_THAT(error("a[1-2-3]"), HasSubstr("numbers and ranges"));
  EXPECT_THAT(error("a[-1]"), HasSubstr("numbers and ranges"));
  EXPECT_THAT(error("a[3-1]"), HasSubstr("runs backwards"));
  EXPECT_THAT(error("a b"), HasSubstr("no host's name"));
  EXPECT_THAT(error("a\n"), HasSubstr("no host's name"));
  EXPECT_THAT(error("(null)"), HasSubstr("no host's name"));
}

TEST(Nodelist, a_list_of_a_billion_hosts_is_refused_before_it_is_made) {
  EXPECT_THAT(error("n[0-999999999]"), HasSubstr("more than 65536 hosts"));
  EXPECT_THAT(error("n[0-9999][0-9999][0-9999]"), HasSubstr("more than 65536 hosts"));
  EXPECT_THAT(error("n[0-65535],m"), HasSubstr("more than 65536 hosts"));
  EXPECT_THAT(error("n[0-60000,0-60000]"), HasSubstr("more than 65536 hosts"));
  EXPECT_THAT(error("n[1][1][1][1][1][1][1][1][1]"), HasSubstr("more than 8 brackets"));
  EXPECT_THAT(error("n[1-9999999999]"), HasSubstr("at most 9 digits"));
  EXPECT_EQ(hosts("n[0-65535]").size(), kMaxNodes);
}

TEST(TasksPerNode, counts_are_repeated) {
  EXPECT_EQ(expand_tasks_per_node("2(x3),1").value(), (std::vector<int>{2, 2, 2, 1}));
  EXPECT_EQ(expand_tasks_per_node("8").value(), std::vector<int>{8});
}

TEST(TasksPerNode, what_is_no_list_is_refused) {
  for (const char* text : {"",
                           "x",
                           "2(x",
                           "2(x3",
                           "2(x0)",
                           "0",
                           "2(x-1)",
                           "2(3)",
                           "2(x3)4",
                           "2(x999999999)",
                           "1(x65536),1",
                           "99999999999"}) {
    EXPECT_FALSE(expand_tasks_per_node(text)) << text;
  }
}

}  // namespace
}  // namespace atl::job
