#include "base/own_program.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <string>

namespace atl {
namespace {

TEST(OwnProgram, its_build_id_is_what_stands_in_its_file) {
  const std::string build = own_build();
  ASSERT_THAT(build, testing::MatchesRegex("[0-9a-f]{16,40}"));
  // As bytes behind the name of the note.
  std::string bytes("GNU\0", 4);
  for (size_t i = 0; i < build.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(build.substr(i, 2), nullptr, 16));
  }
  std::FILE* file = std::fopen(own_program()->c_str(), "rb");
  ASSERT_NE(file, nullptr);
  std::string head(4096, '\0');
  head.resize(std::fread(head.data(), 1, head.size(), file));
  std::fclose(file);
  EXPECT_NE(head.find(bytes), std::string::npos);
}

}  // namespace
}  // namespace atl
