#include "fs/control_stream.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace atl::fs {
namespace {

constexpr time_t kPatience_s = 10;
constexpr size_t kPiece_bytes = 4096;

}  // namespace

sockaddr_un control_address(int directory_fd) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/{}", directory_fd, kControlSocketName);
  ATOLL_CHECK(path.size() < sizeof(address.sun_path)) << path;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

bool is_ours(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

bool set_timeouts(int socket) {
  const timeval patience{kPatience_s, 0};
  return ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
         ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0;
}

Result<void> send_frame(int socket, std::string_view json) {
  const std::string whole = frame(json);
  std::string_view left = whole;
  while (!left.empty()) {
    const ssize_t sent = ::send(socket, left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return fail_errno("writing to the control channel", errno);
    left.remove_prefix(static_cast<size_t>(sent));
  }
  return {};
}

Result<std::optional<std::string>> receive_frame(int socket, FrameReader& reader) {
  std::array<char, kPiece_bytes> piece{};
  for (bool between = true;; between = false) {
    if (auto whole = ATOLL_TRY(reader.next())) return whole;
    const ssize_t got = ::recv(socket, piece.data(), piece.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("reading from the control channel", errno);
    if (got == 0 && between) return std::nullopt;
    if (got == 0) return fail(ErrorCode::kIo, "the control channel ended within a message");
    reader.add({piece.data(), static_cast<size_t>(got)});
  }
}

}  // namespace atl::fs
