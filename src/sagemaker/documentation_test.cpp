// docs/sagemaker.md names a test for its statements: they are there.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include "sagemaker/metric_definitions.h"

namespace atl::sagemaker {
namespace {

std::string contents(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

const std::filesystem::path kRoot = ATOLL_SOURCE_DIR;

TEST(Documentation, every_test_that_it_names_is_there) {
  std::string tests;
  for (const char* room : {"src/sagemaker", "src/cli"}) {
    for (const auto& entry : std::filesystem::directory_iterator(kRoot / room)) {
      if (entry.path().filename().string().ends_with("_test.cpp")) tests += contents(entry.path());
    }
  }
  const std::string text = contents(kRoot / "docs/sagemaker.md");
  const std::regex bracket("\\[([a-z0-9_]+(?:, [a-z0-9_]+)*)\\](?!\\()");
  const std::regex name("[a-z0-9_]+");
  int count = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), bracket), end; found != end; ++found) {
    const std::string names = (*found)[1];
    for (std::sregex_iterator one(names.begin(), names.end(), name); one != end; ++one) {
      EXPECT_NE(tests.find(", " + one->str() + ")"), std::string::npos) << one->str();
      ++count;
    }
  }
  EXPECT_GT(count, 12);
}

TEST(Documentation, it_has_every_metric) {
  const std::string text = contents(kRoot / "docs/sagemaker.md");
  for (const auto& definition : metric_definitions()) {
    EXPECT_NE(text.find("`" + std::string(definition.name) + "`"), std::string::npos)
        << definition.name;
  }
}

}  // namespace
}  // namespace atl::sagemaker
