#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/unique_fd.h"
#include "doctor/machine.h"
#include "job/accelerators.h"
#include "storage/environment.h"

namespace atl::doctor {
namespace {

constexpr size_t kMostBytes = size_t{1} << 20;
constexpr size_t kProbeBytes = size_t{64} << 10;

Result<std::string> read_all(int fd, const std::string& what) {
  std::string text;
  std::array<char, 16384> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(what, errno);
    if (got == 0 || text.size() >= kMostBytes) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
}

Result<void> write_all(int fd, const std::string& what) {
  static constexpr std::array<char, kProbeBytes> kZeros{};
  size_t done = 0;
  while (done < kZeros.size()) {
    const ssize_t wrote = ::write(fd, kZeros.data() + done, kZeros.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_errno(what, errno);
    done += static_cast<size_t>(wrote);
  }
  if (::fsync(fd) != 0) return fail_errno(what, errno);
  return {};
}

std::string numeric(const sockaddr* address, socklen_t size) {
  std::array<char, NI_MAXHOST> text{};
  if (::getnameinfo(address, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return {};
  }
  return text.data();
}

// Frees what getaddrinfo() gives.
struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

class ThisMachine : public Machine {
 public:
  std::optional<std::string> variable(std::string_view name) const override {
    return storage::environment_variable(name);
  }

  std::string host_name() const override {
    std::array<char, 256> name{};  // HOST_NAME_MAX is 64
    if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
    return name.data();
  }

  bool is_root() const override { return ::geteuid() == 0; }

  int allowed_cpus() const override {
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
    return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  }

  int accelerators() const override {
    return job::count_accelerators("/dev", variable("CUDA_VISIBLE_DEVICES"));
  }

  ResourceLimit limit(Resource resource) const override {
    const auto kind = resource == Resource::kOpenFiles   ? RLIMIT_NOFILE
                      : resource == Resource::kProcesses ? RLIMIT_NPROC
                                                         : RLIMIT_MEMLOCK;
    rlimit found{};
    if (::getrlimit(kind, &found) != 0) return {};
    const auto value = [](rlim_t n) { return n == RLIM_INFINITY ? kUnlimited : uint64_t{n}; };
    return {value(found.rlim_cur), value(found.rlim_max)};
  }

  Result<std::string> read(const std::string& path) const override {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail_errno(path, errno);
    return read_all(file.get(), path);
  }

  std::vector<std::string> names_in(const std::string& directory) const override {
    std::vector<std::string> names;
    std::error_code ignored;
    std::filesystem::directory_iterator entries(directory, ignored);
    for (; entries != std::filesystem::directory_iterator(); entries.increment(ignored)) {
      names.push_back(entries->path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

  bool exists(const std::string& path) const override {
    struct stat status;
    return ::stat(path.c_str(), &status) == 0;
  }

  Result<void> open_device(const std::string& path) const override {
    const UniqueFd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (device) return {};
    const int error = errno;
    auto failure = fail_errno(path, error);
    if (error == EACCES || error == EPERM) failure.value().code = ErrorCode::kPermission;
    return failure;
  }

  std::string find_program(std::string_view name) const override {
    const std::string path = variable("PATH").value_or("/usr/local/bin:/usr/bin:/bin");
    for (std::string_view rest = path; !rest.empty();) {
      const std::string_view folder = rest.substr(0, rest.find(':'));
      std::string candidate = fmt::format("{}/{}", folder, name);
      struct stat status;
      if (!folder.empty() && ::stat(candidate.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
          ::access(candidate.c_str(), X_OK) == 0) {
        return candidate;
      }
      rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    }
    return {};
  }

  bool is_setuid_root(const std::string& path) const override {
    struct stat status;
    return ::stat(path.c_str(), &status) == 0 && status.st_uid == 0 &&
           (status.st_mode & S_ISUID) != 0;
  }

  bool has_library(const std::string& name) const override {
    void* const library = ::dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) return false;
    ::dlclose(library);
    return true;
  }

  Result<std::string> libraries_of(const std::string& program) const override;

  std::string existing_part(const std::string& path) const override {
    std::error_code ignored;
    std::filesystem::path part = std::filesystem::absolute(path, ignored).lexically_normal();
    while (part.has_relative_path() && !std::filesystem::is_directory(part, ignored)) {
      part = part.parent_path();
    }
    const auto plain = std::filesystem::canonical(part, ignored);
    return ignored ? part.string() : plain.string();
  }

  Result<DiskSpace> space(const std::string& path) const override {
    struct statvfs status;
    if (::statvfs(path.c_str(), &status) != 0) return fail_errno(path, errno);
    return DiskSpace{.total_bytes = uint64_t{status.f_blocks} * status.f_frsize,
                     .free_bytes = uint64_t{status.f_bavail} * status.f_frsize,
                     .free_files = status.f_favail,
                     .counts_files = status.f_files != 0};
  }

  Result<std::chrono::duration<double>> try_writing(const std::string& directory) const override {
    const auto begin = std::chrono::steady_clock::now();
    std::string name = directory + "/.atoll-tmp-doctor-XXXXXX";
    const UniqueFd file(::mkostemp(name.data(), O_CLOEXEC));
    const std::string what = "writing to " + directory;
    if (!file) return fail_errno(what, errno);
    const auto written = write_all(file.get(), what);
    const bool removed = ::unlink(name.c_str()) == 0;
    if (!written) return tl::unexpected(written.error());
    if (!removed) return fail_errno("removing " + name, errno);
    return std::chrono::steady_clock::now() - begin;
  }

  Result<std::vector<std::string>> resolve(const std::string& host) const override {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
    if (error != 0) {
      return fail(ErrorCode::kNotFound, fmt::format("{}: {}", host, ::gai_strerror(error)));
    }
    const std::unique_ptr<addrinfo, FreeAddresses> list(found);
    std::vector<std::string> addresses;
    for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
      std::string text = numeric(one->ai_addr, one->ai_addrlen);
      if (!text.empty() && std::ranges::count(addresses, text) == 0) {
        addresses.push_back(std::move(text));
      }
    }
    return addresses;
  }

  bool can_listen(uint16_t port) const override {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!listener) return false;
    // As the store of the ranks does: connections that a job has just closed are no obstacle.
    const int yes = 1;
    ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    return ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
               0 &&
           ::listen(listener.get(), 1) == 0;
  }

  std::chrono::system_clock::time_point now() const override {
    return std::chrono::system_clock::now();
  }

  std::optional<bool> clock_is_kept() const override {
    timex state{};
    if (::adjtimex(&state) < 0) return std::nullopt;
    return (state.status & STA_UNSYNC) == 0;
  }
};

// The loader itself says it, without running the program: LD_TRACE_LOADED_OBJECTS is how ldd(1) works.
Result<std::string> ThisMachine::libraries_of(const std::string& program) const {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("a pipe", errno);
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  std::vector<std::string> words = {"LD_TRACE_LOADED_OBJECTS=1"};
  for (const char* const name : {"LD_LIBRARY_PATH", "PATH"}) {
    if (const auto value = variable(name)) words.push_back(fmt::format("{}={}", name, *value));
  }
  std::vector<char*> environment;
  environment.reserve(words.size() + 1);
  for (std::string& word : words) environment.push_back(word.data());
  environment.push_back(nullptr);
  std::string path = program;
  std::array<char*, 2> arguments = {path.data(), nullptr};

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), 1);
  ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int failed =
      ::posix_spawn(&child, path.c_str(), &actions, nullptr, arguments.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  writing = UniqueFd();
  if (failed != 0) return fail_errno("starting " + program, failed);
  auto text = read_all(reading.get(), program);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("waiting for " + program, errno);
  }
  return text;
}

}  // namespace

std::shared_ptr<const Machine> this_machine() { return std::make_shared<const ThisMachine>(); }

}  // namespace atl::doctor
