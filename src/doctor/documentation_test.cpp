// docs/doctor.md has a row for every id, in their order, and names a test for each: they are there.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "doctor/finding.h"

namespace atl::doctor {
namespace {

std::string contents(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class Documentation : public testing::Test {
 protected:
  bool has_test(const std::string& name) const {
    return tests_.find(", " + name + ")") != std::string::npos;
  }

  const std::filesystem::path root_ = ATOLL_SOURCE_DIR;
  const std::string text_ = contents(root_ / "docs/doctor.md");
  const std::string tests_ = [this] {
    std::string tests;
    for (const auto& entry : std::filesystem::directory_iterator(root_ / "src/doctor")) {
      if (entry.path().filename().string().ends_with("_test.cpp")) tests += contents(entry.path());
    }
    return tests;
  }();
};

TEST_F(Documentation, every_id_has_its_meaning_and_its_test) {
  const std::regex row(R"(\n\| `([a-z0-9_.]+)` \| [^\n]+ \| `(\w+)` \|)");
  std::vector<std::string> ids;
  for (std::sregex_iterator found(text_.begin(), text_.end(), row), end; found != end; ++found) {
    ids.push_back((*found)[1]);
    EXPECT_TRUE(has_test((*found)[2])) << (*found)[2];
  }
  const auto known = finding_ids();
  EXPECT_EQ(ids, std::vector<std::string>(known.begin(), known.end()));
}

TEST_F(Documentation, every_test_that_it_names_is_there) {
  const std::regex name("\\b[a-z0-9]+(?:_[a-z0-9]+){4,}\\b");
  int count = 0;
  for (std::sregex_iterator found(text_.begin(), text_.end(), name), end; found != end; ++found) {
    EXPECT_TRUE(has_test(found->str())) << found->str();
    ++count;
  }
  EXPECT_GT(count, 40);
}

}  // namespace
}  // namespace atl::doctor
