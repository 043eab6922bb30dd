// For tests: the program in a folder of its own, run as a person runs it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace atl::cli {

inline std::string contents(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "atoll-cli-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Outcome {
  int exit_code;  // -1 when it died of a signal
  std::string out;
  std::string err;
};

// Through a shell, in a working folder; what the program writes to its outputs goes elsewhere.
inline Outcome run_program(const std::filesystem::path& program,
                           const std::string& arguments,
                           const std::filesystem::path& folder = ".") {
  const TemporaryDirectory outputs;
  const auto out = outputs.path() / "out";
  const auto err = outputs.path() / "err";
  const std::string command = "cd " + folder.string() + " && exec " + program.string() + " " +
                              arguments + " >" + out.string() + " 2>" + err.string() +
                              " </dev/null";
  const int status = ::pclose(::popen(command.c_str(), "r"));
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(out), contents(err)};
}

class ProgramInFolder : public ::testing::Test {
 protected:
  Outcome run(const std::string& arguments) {
    return run_program(ATOLL_BINARY_DIR "/bin/atoll", arguments, folder_);
  }

 private:
  const TemporaryDirectory directory_;

 protected:
  const std::filesystem::path folder_ = directory_.path();
};

}  // namespace atl::cli
