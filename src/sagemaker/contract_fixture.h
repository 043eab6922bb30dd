// For tests: a training container's folders, made as a sender makes them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "dataset/synth.h"
#include "sagemaker/contract.h"
#include "sagemaker/temporary_folder.h"
#include "storage/local_store.h"

namespace atl::sagemaker {

class ContainerFolder : public ::testing::Test {
 protected:
  ContainerFolder() { paths_.root = folder_.string(); }

  void write(const std::string& file, const std::string& text) const { own_.write(file, text); }
  std::string text(const std::string& file) const { return own_.read(file); }
  void write_resources(const std::string& current = "algo-1",
                       const std::string& hosts = R"(["algo-1"])") const {
    write("input/config/resourceconfig.json",
          R"({"current_host":")" + current + R"(","hosts":)" + hosts +
              R"(,"network_interface_name":"lo"})");
  }
  // A generated dataset in COCO's layout.
  void make_data(const std::string& folder) const {
    storage::LocalStore store((folder_ / folder).string());
    const auto made =
        dataset::synthesise(store, {.train_images = 4, .val_images = 2, .size_px = 32, .seed = 3});
    ASSERT_TRUE(made) << made.error().to_string();
  }
  std::string path(const std::string& file) const { return (folder_ / file).string(); }
  std::string channel(const std::string& name) const { return path("input/data/" + name); }

  const TemporaryFolder own_;
  const std::filesystem::path folder_ = own_.path();
  Paths paths_;
};

}  // namespace atl::sagemaker
