#include "job/resource_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::job {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string error(const std::string& json) {
  const auto config = parse_resource_config(json);
  return config ? "no error" : config.error().to_string();
}

TEST(ResourceConfig, hosts_are_sorted_as_texts_so_that_all_agree) {
  const auto config =
      parse_resource_config(R"({"current_host":"algo-2","hosts":["algo-2","algo-10","algo-1"]})");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->hosts, ElementsAre("algo-1", "algo-10", "algo-2"));
  EXPECT_EQ(config->current, 2);
  EXPECT_EQ(config->network_interface, "");
}

TEST(ResourceConfig, what_is_wrong_is_named) {
  EXPECT_THAT(error(""), HasSubstr("is no JSON object"));
  EXPECT_THAT(error("[]"), HasSubstr("is no JSON object"));
  EXPECT_THAT(error(R"({"current_host":"a"})"), HasSubstr("\"hosts\" is no list"));
  EXPECT_THAT(error(R"({"current_host":"a","hosts":"a"})"), HasSubstr("\"hosts\" is no list"));
  EXPECT_THAT(error(R"({"current_host":"a","hosts":[]})"), HasSubstr("\"hosts\" is empty"));
  EXPECT_THAT(error(R"({"current_host":"a","hosts":["a",7]})"), HasSubstr("no host's name"));
  EXPECT_THAT(error(R"({"current_host":"a","hosts":["a","b c"]})"), HasSubstr("no host's name"));
  EXPECT_THAT(error(R"({"current_host":"a","hosts":["a","b","a"]})"), HasSubstr("names a twice"));
  EXPECT_THAT(error(R"({"hosts":["a"]})"), HasSubstr("\"current_host\" is no text"));
  EXPECT_THAT(error(R"({"current_host":null,"hosts":["a"]})"), HasSubstr("is no text"));
  EXPECT_THAT(error(R"({"current_host":"c","hosts":["a","b"]})"),
              HasSubstr("\"current_host\" c is not among the 2 \"hosts\""));
}

TEST(ResourceConfig, hosts_of_several_types_are_not_supported) {
  const std::string json =
      R"({"current_host":"algo-1","hosts":["algo-1","algo-2"],"instance_groups":[
      {"instance_group_name":"a","instance_type":"ml.p3.16xlarge","hosts":["algo-1"]},
      {"instance_group_name":"b","instance_type":"ml.p3.8xlarge","hosts":["algo-2"]}]})";
  const auto config = parse_resource_config(json);
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(error(json), HasSubstr("2 types of instances"));
}

TEST(ResourceConfig, a_strange_interface_is_left_out) {
  for (const char* name : {"\"\"", "\"eth0 x\"", "\"a-name-that-is-too-long\"", "7"}) {
    const auto config = parse_resource_config(
        std::string(R"({"current_host":"a","hosts":["a"],"network_interface_name":)") + name + "}");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->network_interface, "");
  }
}

TEST(ResourceConfig, a_file_of_megabytes_is_refused) {
  EXPECT_THAT(error(std::string(kMaxResourceConfigBytes + 1, ' ')), HasSubstr("larger than"));
}

}  // namespace
}  // namespace atl::job
