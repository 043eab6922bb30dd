// docs/launching.md names a test for each of its statements: they are there.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

namespace atl::job {
namespace {

std::string contents(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST(Documentation, every_test_that_it_names_is_there) {
  const std::filesystem::path root = ATOLL_SOURCE_DIR;
  std::string tests;
  for (const char* room : {"src/job", "src/cli", "src/train"}) {
    for (const auto& entry : std::filesystem::directory_iterator(root / room)) {
      if (entry.path().filename().string().ends_with("_test.cpp")) tests += contents(entry.path());
    }
  }
  const std::string programs = contents(root / "tests/elastic/CMakeLists.txt");
  const std::string text = contents(root / "docs/launching.md");
  const std::regex name("\\b[a-z0-9]+(?:_[a-z0-9]+){4,}\\b");
  int count = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), name), end; found != end; ++found) {
    const bool is_there = tests.find(", " + found->str() + ")") != std::string::npos ||
                          programs.find("elastic(" + found->str() + " ") != std::string::npos;
    EXPECT_TRUE(is_there) << found->str();
    ++count;
  }
  EXPECT_GT(count, 15);
}

}  // namespace
}  // namespace atl::job
