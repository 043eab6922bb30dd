// For tests: a machine as literals. What is not said is not there.
#pragma once

#include <fmt/format.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "doctor/machine.h"

namespace atl::doctor {

class FakeMachine : public Machine {
 public:
  std::map<std::string, std::string, std::less<>> variables;
  std::map<std::string, std::string> files;
  std::set<std::string> paths;  // besides those of `files`: that exist
  std::map<std::string, Error> device_errors;
  std::map<std::string, std::string, std::less<>> programs;
  std::set<std::string> setuid_programs;
  std::set<std::string> libraries;
  Result<std::string> engine_libraries = fail(ErrorCode::kNotFound, "no loader");
  std::string name = "gpu01";
  bool root = false;
  int cpus = 8;
  int gpus = 0;
  std::map<Resource, ResourceLimit> limits;
  Result<DiskSpace> disk = DiskSpace{
      .total_bytes = uint64_t{500} << 30, .free_bytes = uint64_t{200} << 30, .free_files = 1 << 20};
  Result<std::chrono::duration<double>> write_time = std::chrono::duration<double>(0.002);
  Result<std::vector<std::string>> addresses = std::vector<std::string>{"10.0.0.7"};
  std::set<uint16_t> taken_ports;
  std::chrono::system_clock::time_point time{std::chrono::hours(24 * 365 * 56)};
  std::optional<bool> kept_clock = true;

  std::optional<std::string> variable(std::string_view wanted) const override {
    const auto found = variables.find(wanted);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  }
  std::string host_name() const override { return name; }
  bool is_root() const override { return root; }
  int allowed_cpus() const override { return cpus; }
  int accelerators() const override { return gpus; }
  ResourceLimit limit(Resource resource) const override {
    const auto found = limits.find(resource);
    return found == limits.end() ? ResourceLimit{} : found->second;
  }
  Result<std::string> read(const std::string& path) const override {
    const auto found = files.find(path);
    if (found == files.end())
      return fail(ErrorCode::kNotFound, path + ": No such file or directory");
    return found->second;
  }
  std::vector<std::string> names_in(const std::string& directory) const override {
    std::set<std::string> names;
    const auto take = [&](const std::string& path) {
      if (!path.starts_with(directory + "/")) return;
      const std::string rest = path.substr(directory.size() + 1);
      names.insert(rest.substr(0, rest.find('/')));
    };
    for (const auto& [path, text] : files) take(path);
    for (const std::string& path : paths) take(path);
    return {names.begin(), names.end()};
  }
  bool exists(const std::string& path) const override {
    return files.contains(path) || paths.contains(path);
  }
  Result<void> open_device(const std::string& path) const override {
    const auto found = device_errors.find(path);
    if (found != device_errors.end()) return tl::unexpected(found->second);
    if (exists(path)) return {};
    return fail(ErrorCode::kNotFound, path + ": No such file or directory");
  }
  std::string find_program(std::string_view wanted) const override {
    const auto found = programs.find(wanted);
    return found == programs.end() ? "" : found->second;
  }
  bool is_setuid_root(const std::string& path) const override {
    return setuid_programs.contains(path);
  }
  bool has_library(const std::string& library) const override {
    return libraries.contains(library);
  }
  Result<std::string> libraries_of(const std::string& /*program*/) const override {
    return engine_libraries;
  }
  std::string existing_part(const std::string& path) const override { return path; }
  Result<DiskSpace> space(const std::string& /*path*/) const override { return disk; }
  Result<std::chrono::duration<double>> try_writing(
      const std::string& /*directory*/) const override {
    return write_time;
  }
  Result<std::vector<std::string>> resolve(const std::string& /*host*/) const override {
    return addresses;
  }
  bool can_listen(uint16_t port) const override { return !taken_ports.contains(port); }
  std::chrono::system_clock::time_point now() const override { return time; }
  std::optional<bool> clock_is_kept() const override { return kept_clock; }
};

}  // namespace atl::doctor
