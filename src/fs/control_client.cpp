#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/unique_fd.h"
#include "fs/control_socket.h"
#include "fs/control_stream.h"

namespace atl::fs {
namespace {

// No descriptor: nobody listens.
Result<UniqueFd> connect_to(const std::string& directory) {
  const UniqueFd folder(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder && errno == ENOENT) return UniqueFd();
  if (!folder) return fail_errno(directory, errno);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("making a socket", errno);
  const sockaddr_un address = control_address(folder.get());
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(socket.get(), generic, sizeof(address)) == 0) return socket;
  if (errno == ENOENT || errno == ECONNREFUSED) return UniqueFd();
  return fail_errno(fmt::format("connecting to the daemon of {}", directory), errno);
}

// Hangs up when it is to stop, which ends reading.
class HangUp {
 public:
  HangUp(const std::stop_token& stop, int socket)
      : callback_(stop, [socket] { ::shutdown(socket, SHUT_RDWR); }) {}

 private:
  std::stop_callback<std::function<void()>> callback_;
};

}  // namespace

Result<bool> ask_daemon(const std::string& directory,
                        const ControlRequest& request,
                        const std::stop_token& stop,
                        const OnReply& reply) {
  const UniqueFd socket = ATOLL_TRY(connect_to(directory));
  if (!socket) return false;
  const HangUp hang_up(stop, socket.get());
  ATOLL_TRY(send_frame(socket.get(), to_json(request)));
  FrameReader reader(kMaxReplyBytes);
  for (;;) {
    const auto text = receive_frame(socket.get(), reader);
    if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped");
    if (!text) return tl::unexpected(text.error());
    if (!*text) {
      return fail(ErrorCode::kIo,
                  "the daemon hung up before it had answered",
                  "its log says why (\"atoll fs status\" names it)");
    }
    const auto message = ATOLL_TRY_CONTEXT(parse_reply(**text), "the daemon's answer");
    const bool last =
        message.kind == ControlReply::Kind::kDone || message.kind == ControlReply::Kind::kError;
    if (!reply(message) || last) return true;
  }
}

Result<void> wait_for_end(int64_t pid, const std::stop_token& stop) {
  // Not by <sys/pidfd.h>: in glibc 2.36 it has no C linkage for C++.
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  if (!process && errno == ESRCH) return {};
  if (!process) return fail_errno(fmt::format("process {}", pid), errno);
  const UniqueFd stopped(::eventfd(0, EFD_CLOEXEC));
  ATOLL_CHECK(stopped) << errno;
  const std::stop_callback wake(stop, [&] {
    const uint64_t one = 1;
    ATOLL_CHECK(::write(stopped.get(), &one, sizeof(one)) == sizeof(one)) << errno;
  });
  pollfd wanted[] = {{process.get(), POLLIN, 0}, {stopped.get(), POLLIN, 0}};
  while (::poll(wanted, 2, -1) < 0) {
    if (errno != EINTR) return fail_errno(fmt::format("waiting for process {}", pid), errno);
  }
  return {};
}

}  // namespace atl::fs
