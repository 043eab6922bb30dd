// The session: made, mounted, served, ended. libfuse's loop ends when its session is told to, but looks
// at that only when something wakes it; the attendant, a thread beside the loop, sends its thread a signal
// (sem_wait(3) is interruptible) until it has looked. The attendant also waits for the first answer,
// and then sets what the kernel lets us set only after it.
#include "fs/fuse_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/unique_fd.h"
#include "fs/fuse_requests.h"
#include "fs/mount_point.h"

namespace atl::fs {
namespace {

constexpr auto kWakeEvery = std::chrono::milliseconds(10);
constexpr uint64_t kKibibyte = 1024;
constexpr uint64_t kRequest_bytes = uint64_t{1} << 20;

// libfuse splits options at commas.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == ',' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

std::vector<std::string> arguments_of(const FuseServerOptions& options) {
  std::vector<std::string> words = {"atoll"};
  const auto add = [&](std::string option) {
    words.emplace_back("-o");
    words.push_back(std::move(option));
  };
  add("default_permissions");
  add("subtype=atoll");
  add(fmt::format("fsname={}", escaped(options.source)));
  add(fmt::format("max_read={}", kRequest_bytes));
  if (options.read_only) add("ro");
  if (options.allow_other) add("allow_other");
  for (const std::string& option : options.kernel_options) add(escaped(option));
  return words;
}

// What would otherwise be libfuse's own words on standard error.
Result<void> check_device() {
  const UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (device) return {};
  if (errno == ENOENT || errno == ENODEV) {
    return fail(ErrorCode::kUnsupported,
                "there is no /dev/fuse: this kernel or container has no FUSE",
                "\"modprobe fuse\", or give the container --device /dev/fuse --cap-add SYS_ADMIN");
  }
  if (errno == EACCES || errno == EPERM) {
    return fail(ErrorCode::kPermission,
                "/dev/fuse is not for this user",
                "mount as root, or have the user added to the group that owns it");
  }
  return fail_errno("/dev/fuse", errno);
}

Result<void> check_mount_point(const std::string& point, const FuseServerOptions& options) {
  const int cleared = ATOLL_TRY(clear_dead_mounts(point));
  if (cleared > 0 && options.log) {
    options.log(fmt::format("{}: a mount whose server had died was cleaned away", point));
  }
  ATOLL_TRY(check_not_mounted(point));
  struct stat status {};
  if (::stat(point.c_str(), &status) != 0) return fail_errno(point, errno);
  if (!S_ISDIR(status.st_mode)) {
    return fail(ErrorCode::kInvalidInput, fmt::format("{} is not a directory", point));
  }
  return {};
}

class Server : public FuseServer {
 public:
  Server(FileLayer& layer, FuseServerOptions options)
      : options_(std::move(options)),
        requests_(layer,
                  std::chrono::duration<double>(options_.attribute_timeout).count(),
                  options_.root_xattrs,
                  options_.log) {}
  ~Server() override;

  Result<void> start();
  Result<void> serve(std::stop_token stop, std::function<void()> on_ready) override;

 private:
  void attend(const std::stop_token& stop, pthread_t loop, const std::function<void()>& on_ready);
  void wake_loop(pthread_t loop);
  void set_read_ahead();
  void forget_changed(const FileLayer::Change& change);

  const FuseServerOptions options_;
  FuseRequests requests_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool loop_ended_ = false;
  std::atomic<bool> ending_ = false;
};

Result<void> Server::start() {
  std::vector<std::string> words = arguments_of(options_);
  std::vector<char*> pointers;
  pointers.reserve(words.size());
  for (std::string& word : words) pointers.push_back(word.data());
  fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(pointers.size()), pointers.data());
  session_ =
      fuse_session_new(&arguments, &fuse_operations(), sizeof(fuse_operations()), &requests_);
  fuse_opt_free_args(&arguments);
  if (session_ == nullptr) {
    return fail(ErrorCode::kInvalidInput, "FUSE did not take the mount options");
  }
  if (fuse_session_mount(session_, options_.mount_point.c_str()) != 0) {
    return fail(ErrorCode::kIo,
                fmt::format("mounting on {} was refused", options_.mount_point),
                ::geteuid() == 0 ? "the line above says why"
                                 : "the line above says why; allow_other needs user_allow_other in "
                                   "/etc/fuse.conf");
  }
  mounted_ = true;
  return {};
}

Server::~Server() {
  requests_.layer.on_change(nullptr);
  if (mounted_) fuse_session_unmount(session_);
  if (session_ != nullptr) fuse_session_destroy(session_);
}

void Server::forget_changed(const FileLayer::Change& change) {
  if (ending_) return;
  // That the kernel does not know what it is to forget is no error.
  if (change.inode != 0) fuse_lowlevel_notify_inval_inode(session_, change.inode, 0, 0);
  if (!change.name.empty()) {
    fuse_lowlevel_notify_inval_entry(
        session_, change.parent, change.name.c_str(), change.name.size());
  }
}

// FUSE's read-ahead is 128 KiB, and only root may raise it, once the session has begun.
void Server::set_read_ahead() {
  const auto all = mounts();
  const auto mount = all ? mounted_at(*all, options_.mount_point) : std::nullopt;
  if (!mount || ::geteuid() != 0) return;
  std::ofstream file(fmt::format("/sys/class/bdi/{}/read_ahead_kb", mount->device));
  file << options_.read_ahead_bytes / kKibibyte << std::flush;
  if (!file && options_.log) {
    options_.log(fmt::format("{}: the kernel's read-ahead stays as it is, sysfs cannot be written",
                             options_.mount_point));
  }
}

void Server::wake_loop(pthread_t loop) {
  fuse_session_exit(session_);
  std::unique_lock lock(mutex_);
  while (!loop_ended_) {
    ::pthread_kill(loop, SIGUSR1);
    changed_.wait_for(lock, kWakeEvery);
  }
}

void Server::attend(const std::stop_token& stop,
                    pthread_t loop,
                    const std::function<void()>& on_ready) {
  struct statvfs ignored {};
  if (::statvfs(options_.mount_point.c_str(), &ignored) == 0) {
    set_read_ahead();
    if (on_ready) on_ready();
  }
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return loop_ended_; });
    if (loop_ended_) return;
  }
  // What programs have written through memory maps.
  const UniqueFd root(::open(options_.mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root) ::syncfs(root.get());
  wake_loop(loop);
}

Result<void> Server::serve(std::stop_token stop, std::function<void()> on_ready) {
  requests_.layer.on_change([this](const FileLayer::Change& change) { forget_changed(change); });
  struct sigaction nothing {};
  struct sigaction before {};
  nothing.sa_handler = [](int) {};
  ATOLL_CHECK(::sigaction(SIGUSR1, &nothing, &before) == 0);
  std::thread attendant([&, loop = ::pthread_self()] { attend(stop, loop, on_ready); });

  fuse_loop_config* const config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, static_cast<unsigned>(options_.max_threads));
  const int failed = fuse_session_loop_mt(session_, config);
  fuse_loop_cfg_destroy(config);
  {
    const std::lock_guard lock(mutex_);
    loop_ended_ = true;
  }
  changed_.notify_all();
  ending_ = true;
  // Also lets the attendant go on, should it wait for an answer that nobody gives any more.
  fuse_session_unmount(session_);
  mounted_ = false;
  attendant.join();
  ATOLL_CHECK(::sigaction(SIGUSR1, &before, nullptr) == 0);
  requests_.layer.on_change(nullptr);
  if (failed == 0) return {};
  return fail_errno(fmt::format("serving {}", options_.mount_point), std::abs(failed));
}

}  // namespace

Result<std::unique_ptr<FuseServer>> FuseServer::mount(FileLayer& layer, FuseServerOptions options) {
  ATOLL_TRY(check_device());
  options.mount_point = ATOLL_TRY(absolute_path(options.mount_point));
  ATOLL_TRY(check_mount_point(options.mount_point, options));
  auto server = std::make_unique<Server>(layer, std::move(options));
  ATOLL_TRY(server->start());
  return server;
}

}  // namespace atl::fs
