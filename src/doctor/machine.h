// What the checks of a machine look at. this_machine() is the real one, fake_machine.h one that tests make up.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::doctor {

inline constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

struct ResourceLimit {
  uint64_t soft = kUnlimited;  // what holds
  uint64_t hard = kUnlimited;  // how far a process may raise it itself
};
enum class Resource { kOpenFiles, kProcesses, kLockedMemory };

struct DiskSpace {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // for this user
  uint64_t free_files = 0;
  bool counts_files = true;  // some file systems have as many as they have bytes
};

// Paths are absolute. Thread safe. Errors: kNotFound, kPermission, kIo.
class Machine {
 public:
  virtual ~Machine() = default;

  virtual std::optional<std::string> variable(std::string_view name) const = 0;
  virtual std::string host_name() const = 0;
  virtual bool is_root() const = 0;
  virtual int allowed_cpus() const = 0;  // by affinity
  virtual int accelerators() const = 0;  // GPUs that a process may use (job/accelerators.h)
  virtual ResourceLimit limit(Resource resource) const = 0;

  // A short file: of /proc, /sys, /etc.
  virtual Result<std::string> read(const std::string& path) const = 0;
  // The names in a directory, in order; empty where it cannot be read.
  virtual std::vector<std::string> names_in(const std::string& directory) const = 0;
  virtual bool exists(const std::string& path) const = 0;
  // Opens it for reading and writing, as a device is used.
  virtual Result<void> open_device(const std::string& path) const = 0;
  // A program by its name, in PATH; "" where there is none.
  virtual std::string find_program(std::string_view name) const = 0;
  virtual bool is_setuid_root(const std::string& path) const = 0;
  // Whether the loader finds a shared library of this name.
  virtual bool has_library(const std::string& name) const = 0;
  // The libraries of a program as the loader resolves them, in the words of ldd(1).
  virtual Result<std::string> libraries_of(const std::string& program) const = 0;

  // Of the file system that a path is on, or will be: the nearest directory above it that exists.
  virtual std::string existing_part(const std::string& path) const = 0;
  virtual Result<DiskSpace> space(const std::string& path) const = 0;
  // Writes a small file into an existing directory, syncs it and takes it away: how long that took.
  virtual Result<std::chrono::duration<double>> try_writing(const std::string& directory) const = 0;

  // The addresses of a name, numeric.
  virtual Result<std::vector<std::string>> resolve(const std::string& host) const = 0;
  // Whether a server could listen there now, on all interfaces.
  virtual bool can_listen(uint16_t port) const = 0;
  virtual std::chrono::system_clock::time_point now() const = 0;
  // Whether the kernel's clock is being kept right by somebody (adjtimex(2)); nullopt where it does not say.
  virtual std::optional<bool> clock_is_kept() const = 0;
};

std::shared_ptr<const Machine> this_machine();

}  // namespace atl::doctor
