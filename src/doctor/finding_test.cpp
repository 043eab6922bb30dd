#include "doctor/finding.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace atl::doctor {
namespace {

using testing::HasSubstr;
using testing::Not;

const Finding kFuse{id::kFuseDevice,
                    Severity::kFailure,
                    "there is no /dev/fuse",
                    "mounts cannot work",
                    "modprobe fuse"};

TEST(Finding, is_one_line_with_what_mends_it) {
  EXPECT_EQ(line_of(kFuse, true),
            "✗ fuse.device              there is no /dev/fuse; mounts cannot work → modprobe fuse");
  EXPECT_EQ(
      line_of(kFuse, false),
      "FAIL fuse.device              there is no /dev/fuse; mounts cannot work -> modprobe fuse");
  EXPECT_EQ(line_of({id::kCpu, Severity::kOk, "8 processors", "", ""}, true),
            "✓ cpu                      8 processors");
}

TEST(Finding, text_from_outside_moves_no_cursor_and_breaks_no_line) {
  const Finding hostile{id::kData,
                        Severity::kOk,
                        "a\nb\x1b[2J\xc2\x9b"
                        "c\xff",
                        "é",
                        "x\ry"};
  const std::string line = line_of(hostile, true);
  EXPECT_THAT(line, HasSubstr("a b [2J c?; é → x y"));
  EXPECT_THAT(line_of(hostile, false), HasSubstr("a b [2J?c?; ? -> x y"));
}

TEST(Finding, json_has_every_field_under_a_stable_name) {
  const Finding broken{id::kData, Severity::kWarning, "bad \xff byte", "", ""};
  const std::vector<Finding> findings = {kFuse, broken};
  const auto json = nlohmann::json::parse(json_of(findings));
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0],
            nlohmann::json({{"id", "fuse.device"},
                            {"severity", "failure"},
                            {"what", "there is no /dev/fuse"},
                            {"why", "mounts cannot work"},
                            {"mend", "modprobe fuse"}}));
  EXPECT_EQ(json[1]["severity"], "warning");
  EXPECT_EQ(json_of({}), "[]");
}

TEST(Finding, only_a_failure_makes_the_exit_code_1) {
  const auto code = [](Severity severity) {
    const std::vector<Finding> findings = {{id::kCpu, Severity::kOk, "", "", ""},
                                           {id::kGpu, severity, "", "", ""}};
    return exit_code(findings);
  };
  EXPECT_EQ(code(Severity::kOk), 0);
  EXPECT_EQ(code(Severity::kNote), 0);
  EXPECT_EQ(code(Severity::kWarning), 0);
  EXPECT_EQ(code(Severity::kFailure), 1);
  EXPECT_EQ(exit_code({}), 0);
}

TEST(Finding, the_locale_that_counts_decides_about_unicode) {
  EXPECT_TRUE(writes_unicode("", "", "de_DE.UTF-8"));
  EXPECT_TRUE(writes_unicode("", "C.utf8", "C"));
  EXPECT_FALSE(writes_unicode("C", "C.utf8", "de_DE.UTF-8"));
  EXPECT_FALSE(writes_unicode("", "", ""));
}

TEST(Finding, no_id_is_there_twice) {
  const auto ids = finding_ids();
  const std::set<std::string_view> different(ids.begin(), ids.end());
  EXPECT_EQ(different.size(), ids.size());
}

}  // namespace
}  // namespace atl::doctor
