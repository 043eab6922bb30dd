// Frames over a socket, for both sides.
#pragma once

#include <sys/un.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "fs/control_message.h"

namespace atl::fs {

inline constexpr const char* kControlSocketName = "control.sock";

// Of the socket in a directory that is open: a path of any length would not fit into an address.
sockaddr_un control_address(int directory_fd);

// Whether the other end is this user, or root.
bool is_ours(int socket);
bool set_timeouts(int socket);  // ten seconds for whoever does not read or write

Result<void> send_frame(int socket, std::string_view json);
// nullopt: the other end has hung up between two frames.
Result<std::optional<std::string>> receive_frame(int socket, FrameReader& reader);

}  // namespace atl::fs
