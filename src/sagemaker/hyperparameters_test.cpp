#include "sagemaker/hyperparameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atl::sagemaker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string value_of(const std::string& json) {
  const auto parsed = parse_hyperparameters(R"({"name": )" + json + "}");
  return parsed ? parsed->at(0).value : "error: " + parsed.error().to_string();
}

TEST(Hyperparameters, every_sender_says_the_same) {
  // SageMaker itself, the SDK's JSON, a notebook's JSON in the SDK's, and a file by hand.
  for (const char* json : {R"("tiny")", R"("\"tiny\"")", R"("\"\\\"tiny\\\"\"")"}) {
    EXPECT_EQ(value_of(json), "tiny") << json;
  }
  for (const char* json : {R"("0.02")", "0.02", R"("\"0.02\"")"}) EXPECT_EQ(value_of(json), "0.02");
  for (const char* json : {R"("true")", R"("True")", "true", R"("\"True\"")"}) {
    EXPECT_EQ(value_of(json), "true") << json;
  }
  EXPECT_EQ(value_of(R"("False")"), "false");
  for (const char* json : {R"("[0.5,0.75]")", "[0.5,0.75]"})
    EXPECT_EQ(value_of(json), "[0.5,0.75]");
  for (const char* json : {R"("")", R"("\"\"")", "null", R"("null")", R"("None")"}) {
    EXPECT_EQ(value_of(json), "") << json;
  }
}

TEST(Hyperparameters, a_quote_that_is_no_pair_stays) {
  EXPECT_EQ(value_of(R"("\"")"), "\"");
  EXPECT_EQ(value_of(R"("\"a")"), "\"a");
  EXPECT_EQ(value_of(R"("\"a\" and \"b\"")"), "\"a\" and \"b\"");
}

TEST(Hyperparameters, they_come_by_name) {
  const auto parsed = parse_hyperparameters(R"({"b": "2", "a": "1"})");
  ASSERT_TRUE(parsed);
  EXPECT_THAT(*parsed, ElementsAre(Hyperparameter{"a", "1"}, Hyperparameter{"b", "2"}));
  EXPECT_THAT(parse_hyperparameters("{}").value(), IsEmpty());
}

TEST(Hyperparameters, what_is_none_is_refused) {
  for (const char* text : {"", "[]", "{", "7", "{\"a\": \"\xff\"}"}) {
    const auto parsed = parse_hyperparameters(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidInput);
  }
  EXPECT_THAT(value_of(R"({"steps": 5})"),
              HasSubstr("name is no text, number, truth value or list"));
  EXPECT_THAT(value_of("[[1]]"), HasSubstr("name is no text"));
  EXPECT_FALSE(parse_hyperparameters(std::string(kMaxHyperparametersBytes + 1, ' ')));
}

}  // namespace
}  // namespace atl::sagemaker
