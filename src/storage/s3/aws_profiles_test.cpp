#include "storage/s3/aws_profiles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/fake_environment.h"

namespace atl::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

AwsProfiles config(std::string_view text) {
  return parse_profiles(text, ProfileFile::kConfig, "config").value();
}

std::string refusal(std::string_view text) {
  return parse_profiles(text, ProfileFile::kCredentials, "file").error().to_string();
}

TEST(AwsProfiles, reads_what_aws_programs_write) {
  const AwsProfiles profiles = config(
      "[default]\n"
      "region = eu-central-1\n"
      "output=json\n"
      "\n"
      "# work\n"
      "[profile lab]\r\n"
      "Region = us-west-2\r\n"
      "s3 =\r\n"
      "    addressing_style = path\r\n"
      "    max_queue_size = 1000\r\n"
      "services = here\r\n"
      "[profile 'a b']\n"
      "region = x\n"
      "[services here]\n"
      "s3 =\n"
      "  endpoint_url = http://localhost:9000\n"
      "[sso-session lab]\n"
      "sso_region = us-east-1\n");
  EXPECT_EQ(profiles.value("default", "region"), "eu-central-1");
  EXPECT_EQ(profiles.value("default", "output"), "json");
  EXPECT_EQ(profiles.value("lab", "region"), "us-west-2");
  EXPECT_EQ(profiles.value("lab", "s3.addressing_style"), "path");
  EXPECT_EQ(profiles.value("lab", "s3.max_queue_size"), "1000");
  EXPECT_EQ(profiles.value("a b", "region"), "x");
  EXPECT_EQ(profiles.value("a b", "output"), "");
  EXPECT_EQ(profiles.services.at("here").at("s3.endpoint_url"), "http://localhost:9000");
  EXPECT_EQ(profiles.profiles.size(), 3U);
}

TEST(AwsProfiles, take_names_without_a_prefix_only_from_the_credentials_file) {
  EXPECT_FALSE(config("[lab]\nregion = x\n").has("lab"));
  EXPECT_TRUE(
      parse_profiles("[lab]\nregion = x\n", ProfileFile::kCredentials, "f").value().has("lab"));
}

TEST(AwsProfiles, read_comments_as_the_sdks_do) {
  const AwsProfiles profiles = config(
      "[profile a] ; mine\n"
      "; whole line\n"
      "  # indented\n"
      "one = x # comment\n"
      "two = x#y;z\n"
      "three = ; nothing\n");
  EXPECT_THAT(profiles.profiles.at("a"),
              ElementsAre(Pair("one", "x"), Pair("three", ""), Pair("two", "x#y;z")));
}

TEST(AwsProfiles, go_on_with_a_value_on_indented_lines) {
  EXPECT_EQ(config("[default]\nprogram = one\n\ttwo = 2\n").value("default", "program"),
            "one\ntwo = 2");
}

TEST(AwsProfiles, join_sections_of_one_name_and_the_later_value_counts) {
  const AwsProfiles profiles =
      config("[profile a]\nx = 1\ny = 1\n[profile b]\n[profile a]\nx = 2\n");
  EXPECT_THAT(profiles.profiles.at("a"), ElementsAre(Pair("x", "2"), Pair("y", "1")));
}

TEST(AwsProfiles, prefer_profile_default_to_default) {
  EXPECT_EQ(config("[profile default]\nx = 1\n[default]\nx = 2\n").value("default", "x"), "1");
}

TEST(AwsProfiles, skip_a_byte_order_mark) {
  EXPECT_EQ(config("\xef\xbb\xbf[default]\nx = 1\n").value("default", "x"), "1");
}

TEST(AwsProfiles, name_the_line_that_is_wrong_and_show_nothing_of_it) {
  EXPECT_THAT(refusal("aws_secret_access_key = SECRET"), HasSubstr("file:1: a setting before"));
  EXPECT_THAT(refusal("[default]\nSECRET\n"), HasSubstr("file:2: neither"));
  EXPECT_THAT(refusal("[SECRET\n"), HasSubstr("file:1: a section"));
  EXPECT_THAT(refusal("[a] SECRET\n"), HasSubstr("file:1: a section"));
  EXPECT_THAT(refusal("[a]\n= SECRET\n"), HasSubstr("file:2: there is no name"));
  EXPECT_THAT(refusal("[a]\n  SECRET\n"), HasSubstr("file:2: an indented line"));
  EXPECT_THAT(refusal("[a]\ns3 =\n  SECRET\n"), HasSubstr("file:3: an indented line"));
  for (const std::string_view text : {"x = SECRET", "[a]\nSECRET", "[SECRET", "[a]\n= SECRET"}) {
    EXPECT_THAT(refusal(text), Not(HasSubstr("SECRET"))) << text;
  }
}

TEST(AwsProfiles, lie_where_home_says) {
  FakeEnvironment environment;
  environment.write(".aws/config", "[profile lab]\nregion = here\n");
  environment.write(".aws/credentials", "[lab]\naws_access_key_id = AKID\n");
  const AwsProfiles profiles = load_profiles(environment.variable()).value();
  EXPECT_EQ(profiles.value("lab", "region"), "here");
  EXPECT_EQ(profiles.value("lab", "aws_access_key_id"), "AKID");
}

TEST(AwsProfiles, lie_where_the_variables_say) {
  FakeEnvironment environment;
  environment.set("AWS_CONFIG_FILE", environment.write("c", "[default]\nregion = here\n"));
  environment.set("AWS_SHARED_CREDENTIALS_FILE", "~/k");
  environment.write("k", "[default]\naws_access_key_id = AKID\n");
  const AwsProfiles profiles = load_profiles(environment.variable()).value();
  EXPECT_EQ(profiles.value("default", "region"), "here");
  EXPECT_EQ(profiles.value("default", "aws_access_key_id"), "AKID");
}

TEST(AwsProfiles, are_none_without_files) {
  FakeEnvironment environment;
  EXPECT_TRUE(load_profiles(environment.variable()).value().profiles.empty());
  environment.unset("HOME");
  EXPECT_TRUE(load_profiles(environment.variable()).value().profiles.empty());
}

TEST(AwsProfiles, say_which_file_cannot_be_read) {
  FakeEnvironment environment;
  environment.set("AWS_CONFIG_FILE", environment.directory());
  const auto profiles = load_profiles(environment.variable());
  ASSERT_FALSE(profiles.has_value());
  EXPECT_THAT(profiles.error().to_string(), HasSubstr(environment.directory()));
}

TEST(AwsProfiles, do_not_complete_the_keys_of_one_file_by_the_others) {
  FakeEnvironment environment;
  environment.write(".aws/config",
                    "[default]\naws_access_key_id = OLD\naws_secret_access_key = OLD\n"
                    "aws_session_token = OLD\nregion = here\n");
  environment.write(".aws/credentials",
                    "[default]\naws_access_key_id = NEW\naws_secret_access_key = NEW\n");
  EXPECT_THAT(load_profiles(environment.variable()).value().profiles.at("default"),
              ElementsAre(Pair("aws_access_key_id", "NEW"),
                          Pair("aws_secret_access_key", "NEW"),
                          Pair("region", "here")));
}

TEST(AwsProfiles, are_chosen_by_hand_then_by_variable) {
  const AwsProfiles profiles = config("[profile a]\n[profile b]\n[profile c]\n");
  FakeEnvironment environment;
  const auto chosen = [&](std::string_view wanted) {
    return choose_profile(profiles, environment.variable(), wanted);
  };
  EXPECT_EQ(chosen("").value(), "default");
  environment.set("AWS_DEFAULT_PROFILE", "a");
  EXPECT_EQ(chosen("").value(), "a");
  environment.set("AWS_PROFILE", "b");
  EXPECT_EQ(chosen("").value(), "b");
  EXPECT_EQ(chosen("c").value(), "c");
  EXPECT_THAT(chosen("d").error().to_string(), HasSubstr("no AWS profile 'd'"));
}

}  // namespace
}  // namespace atl::storage
