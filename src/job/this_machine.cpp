#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "job/accelerators.h"
#include "job/place.h"

namespace atl::job {
namespace {

Result<std::string> read_whole(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail_errno(path, errno != 0 ? errno : EIO);
  std::stringstream text;
  text << file.rdbuf();
  if (file.bad() || text.bad()) return fail_errno(path, EIO);
  return text.str();
}

std::optional<std::string> variable(std::string_view name) {
  const char* const value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::string host_name() {
  std::array<char, 256> name{};  // HOST_NAME_MAX is 64
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

}  // namespace

PlaceSources this_machine() {
  return {variable,
          read_whole,
          count_accelerators("/dev", variable("CUDA_VISIBLE_DEVICES")),
          host_name()};
}

}  // namespace atl::job
