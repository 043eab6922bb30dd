// Variables and a home directory for tests of what reads them.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "storage/s3/aws_profiles.h"

namespace atl::storage {

class FakeEnvironment {
 public:
  FakeEnvironment() {
    std::string name = std::filesystem::temp_directory_path() / "atoll-environment-XXXXXX";
    ATOLL_CHECK(::mkdtemp(name.data()) != nullptr) << name;
    directory_ = name;
    set("HOME", directory_);
  }
  ~FakeEnvironment() { std::filesystem::remove_all(directory_); }
  FakeEnvironment(const FakeEnvironment&) = delete;
  FakeEnvironment& operator=(const FakeEnvironment&) = delete;

  void set(std::string_view name, std::string_view value) {
    variables_.insert_or_assign(std::string(name), std::string(value));
  }
  void unset(const std::string& name) { variables_.erase(name); }

  // Writes a file below the home directory and gives its path.
  std::string write(std::string_view name, std::string_view text) const {
    const std::filesystem::path path = std::filesystem::path(directory_) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << text;
    ATOLL_CHECK(file.flush().good()) << path.string();
    return path;
  }

  const std::string& directory() const { return directory_; }

  // Sees later changes, too; must not outlive this.
  EnvironmentVariable variable() const {
    return [this](std::string_view name) -> std::optional<std::string> {
      const auto found = variables_.find(name);
      if (found == variables_.end()) return std::nullopt;
      return found->second;
    };
  }

 private:
  std::string directory_;
  std::map<std::string, std::string, std::less<>> variables_;
};

}  // namespace atl::storage
