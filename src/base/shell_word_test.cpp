#include "base/shell_word.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace atl {
namespace {

// The shell itself says whether it reads back what was written.
TEST(ShellWord, a_shell_reads_a_word_as_it_was) {
  for (const char* text :
       {"plain/path-1.0", "", "a b", "it's", "$HOME", "`id`", "a;b", "*", "\\", "\"", "~"}) {
    const std::string command = "printf %s " + shell_word(text);
    FILE* const pipe = ::popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string read;
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) read += static_cast<char>(c);
    ::pclose(pipe);
    EXPECT_EQ(read, text);
  }
  EXPECT_EQ(shell_word("s3://b/k"), "s3://b/k");
}

}  // namespace
}  // namespace atl
