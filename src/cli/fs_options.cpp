#include "cli/fs_options.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

namespace atl::cli {
namespace {

// import_interval is --import-interval, as configuration keys and options go elsewhere.
std::string flag_of(std::string_view key) {
  std::string flag = key == "ro" ? "read-only" : std::string(key);
  std::ranges::replace(flag, '_', '-');
  return "--" + flag;
}

void make_absolute(std::string& path) {
  if (!path.empty()) path = std::filesystem::absolute(path).lexically_normal().string();
}

}  // namespace

void FsOptions::add(CLI::App* command, const fs::MountOption& option) {
  const std::string key(option.key);
  if (option.type.empty()) {
    command->add_flag_callback(
        flag_of(key), [this, key] { given_.push_back(key); }, std::string(option.help));
    return;
  }
  command
      ->add_option_function<std::string>(
          flag_of(key),
          [this, key](const std::string& value) { given_.push_back(key + "=" + value); },
          std::string(option.help))
      ->type_name(std::string(option.type));
}

std::shared_ptr<FsOptions> FsOptions::add_all(CLI::App* command) {
  auto options = std::make_shared<FsOptions>();
  for (const fs::MountOption& option : fs::mount_options()) options->add(command, option);
  command->add_option("-o", options->lists_, "The same as a list, as fstab has it: ro,uid=1000")
      ->type_name("OPTIONS")
      ->expected(1)
      ->allow_extra_args(false)  // what follows its value is the bucket
      ->take_all();
  return options;
}

std::shared_ptr<FsOptions> FsOptions::add_opening(CLI::App* command) {
  auto options = std::make_shared<FsOptions>();
  for (const fs::MountOption& option : fs::mount_options()) {
    if (option.key == "state") options->add(command, option);
  }
  return options;
}

Result<fs::MountSettings> FsOptions::settings(bool sloppy) const {
  fs::MountSettings settings;
  for (const std::string& list : lists_) {
    for (const std::string& option : fs::split_mount_options(list)) {
      const auto applied = fs::apply_mount_option(settings, option);
      if (!applied && !sloppy) return tl::unexpected(applied.error());
    }
  }
  for (const std::string& option : given_) ATOLL_TRY(fs::apply_mount_option(settings, option));
  for (std::string* path :
       {&settings.state_directory, &settings.cache_directory, &settings.log_file}) {
    make_absolute(*path);
  }
  return settings;
}

}  // namespace atl::cli
