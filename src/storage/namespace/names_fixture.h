// What the namespace's tests share: a bucket in memory, a directory that goes with the test, a clock
// that stands still until it is told.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "storage/fake_remote.h"
#include "storage/namespace/namespace.h"

namespace atl::storage {

class NamesFixture : public testing::Test {
 protected:
  NamesFixture() {
    std::string pattern = testing::TempDir() + "names-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "no temporary directory";
    directory_ = pattern;
  }
  ~NamesFixture() override { std::filesystem::remove_all(directory_); }

  NamespaceOptions options() {
    NamespaceOptions options;
    options.directory = directory_ + "/names";
    options.now = [this] { return std::chrono::system_clock::time_point(now_.load()); };
    options.log = [this](std::string_view line) {
      const std::lock_guard lock(log_mutex_);
      log_.emplace_back(line);
    };
    return options;
  }
  std::shared_ptr<Namespace> open() {
    auto names = Namespace::open(remote_, options());
    if (!names) {
      ADD_FAILURE() << names.error().to_string();
      return nullptr;
    }
    return *names;
  }
  void pass(std::chrono::seconds time) {
    now_ = now_.load() + std::chrono::system_clock::duration(time);
  }
  void put_many(const std::string& prefix, int count) {
    for (int i = 0; i < count; ++i) {
      std::string number = std::to_string(i);
      number.insert(0, 6 - number.size(), '0');
      remote_->put(prefix + number + ".jpg", "x");
    }
  }
  std::vector<std::string> log() {
    const std::lock_guard lock(log_mutex_);
    return log_;
  }

  static std::vector<std::string> names_in(Namespace& names,
                                           std::string_view directory,
                                           std::string_view after = {}) {
    std::vector<std::string> found;
    const auto result = names.children(directory, after, [&](const DirectoryEntry& entry) {
      found.push_back(entry.name + (entry.is_directory ? "/" : ""));
      return true;
    });
    if (!result) found = {result.error().to_string()};
    return found;
  }
  static std::vector<std::string> keys_of(Namespace& names, std::string_view prefix) {
    std::vector<std::string> found;
    const auto result = names.list(prefix, [&](const ObjectInfo& info) {
      found.push_back(info.key);
      return true;
    });
    if (!result) found = {result.error().to_string()};
    return found;
  }
  static ImportCounts import_all(Namespace& names, ImportPolicy policy = {}) {
    const auto counts = names.import({}, policy, {}, {});
    if (!counts) {
      ADD_FAILURE() << counts.error().to_string();
      return {};
    }
    return *counts;
  }
  static ErrorCode error_of(const auto& result) {
    EXPECT_FALSE(result.has_value());
    return result ? ErrorCode::kInternal : result.error().code;
  }

  std::shared_ptr<FakeRemote> remote_ = std::make_shared<FakeRemote>();
  std::string directory_;

 private:
  std::atomic<std::chrono::system_clock::duration> now_ =
      std::chrono::system_clock::now().time_since_epoch();
  std::mutex log_mutex_;
  std::vector<std::string> log_;
};

}  // namespace atl::storage
