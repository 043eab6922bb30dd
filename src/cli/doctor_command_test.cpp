// `atoll doctor` as its users meet it; what it finds is tested in doctor/.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program_fixture.h"

namespace atl::cli {
namespace {

using nlohmann::json;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class DoctorCommand : public ProgramInFolder {
 protected:
  // A user without any configuration.
  Outcome doctor(const std::string& arguments, const std::string& variables = "") {
    const std::string program = fmt::format(
        "env -i PATH=\"$PATH\" HOME={} AWS_EC2_METADATA_DISABLED=true {} " ATOLL_BINARY_DIR
        "/bin/atoll",
        folder_.string(),
        variables);
    return run_program(program, "doctor " + arguments, folder_);
  }
  static bool has_engine() { return std::filesystem::exists(ATOLL_BINARY_DIR "/bin/atoll-engine"); }
  static bool has_failure(const json& findings) {
    return std::ranges::any_of(
        findings, [](const json& finding) { return finding.at("severity") == "failure"; });
  }
  static json find(const json& findings, const std::string& id) {
    for (const json& finding : findings) {
      if (finding.at("id") == id) return finding;
    }
    return {};
  }
};

TEST_F(DoctorCommand, looks_at_this_machine_and_says_by_its_code_whether_something_would_fail) {
  const auto outcome = doctor("--json");
  const json findings = json::parse(outcome.out);
  EXPECT_GT(findings.size(), 10u);
  EXPECT_EQ(outcome.exit_code, has_failure(findings) ? 1 : 0);
  EXPECT_THAT(outcome.err, IsEmpty());
  EXPECT_TRUE(find(findings, "cpu").is_object());
  EXPECT_EQ(find(findings, "engine").at("severity"), has_engine() ? "ok" : "warning") << findings;
}

TEST_F(DoctorCommand, prints_one_line_for_each_finding_in_the_letters_of_the_locale) {
  const auto ascii = doctor("--data .", "LC_ALL=C");
  EXPECT_THAT(ascii.out, HasSubstr("FAIL data"));
  EXPECT_TRUE(
      std::ranges::all_of(ascii.out, [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
  EXPECT_EQ(ascii.exit_code, 1);
  const auto unicode = doctor("--data .", "LC_ALL=C.UTF-8");
  EXPECT_THAT(unicode.out, HasSubstr("✗ data"));
  EXPECT_THAT(unicode.out, HasSubstr(" → ls -ld ."));
}

TEST_F(DoctorCommand, an_endpoint_that_is_not_there_fails_soon_and_in_words) {
  const auto outcome = doctor("--json s3://bucket/coco",
                              "AWS_ENDPOINT_URL_S3=http://127.0.0.1:1 AWS_ACCESS_KEY_ID=a "
                              "AWS_SECRET_ACCESS_KEY=hidden");
  EXPECT_EQ(outcome.exit_code, 1);
  const json findings = json::parse(outcome.out);
  EXPECT_EQ(find(findings, "credentials").at("what"), "from the environment");
  EXPECT_EQ(find(findings, "bucket").at("severity"), "failure");
  EXPECT_EQ(find(findings, "clock").at("severity"), "note");
  EXPECT_TRUE(find(findings, "disk.cache").is_object());
  EXPECT_THAT(outcome.out, Not(HasSubstr("hidden")));
}

TEST_F(DoctorCommand, without_credentials_says_where_they_are_looked_for) {
  const auto outcome = doctor("--json s3://bucket", "AWS_ENDPOINT_URL_S3=http://127.0.0.1:1");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(find(json::parse(outcome.out), "credentials").at("mend").get<std::string>(),
              HasSubstr("AWS_PROFILE"));
}

TEST_F(DoctorCommand, bad_usage_is_told) {
  EXPECT_EQ(doctor("mydata").exit_code, 2);
  EXPECT_THAT(doctor("mydata").err, HasSubstr("--data and --out"));
  EXPECT_EQ(doctor("--preset tny").exit_code, 2);
  EXPECT_THAT(doctor("--preset tny").err, HasSubstr("did you mean tiny?"));
  EXPECT_EQ(doctor("--subnet vpc-1", "AWS_REGION=eu-central-1").exit_code, 2);
  EXPECT_EQ(doctor("--hosts 0").exit_code, 2);
  EXPECT_EQ(doctor("s3://").exit_code, 2);
}

TEST_F(DoctorCommand, what_follows_an_options_one_value_is_a_bucket) {
  const auto outcome = doctor("--subnet subnet-0123456789abcdef0 bucket");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("\"bucket\" does not begin with s3://"));
}

TEST_F(DoctorCommand, a_jobs_side_needs_a_region) {
  const auto outcome = doctor("--role job");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("region"));
}

TEST_F(DoctorCommand, every_preset_that_it_knows_is_one) {
  if (!has_engine()) GTEST_SKIP() << "this build has no engine";
  for (const char* preset : {"tiny", "r18_fpn", "r34_fpn", "r50_fpn", "r101_fpn"}) {
    EXPECT_EQ(run(fmt::format("train --preset {} --print-config", preset)).exit_code, 0);
    EXPECT_THAT(doctor(fmt::format("--preset {}", preset)).exit_code, AnyOf(0, 1));
  }
}

}  // namespace
}  // namespace atl::cli
