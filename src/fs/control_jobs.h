// What a request of `atoll fs` does, whoever does it: the daemon that has the layer open, or the command
// itself where no daemon runs.
#pragma once

#include <functional>
#include <stop_token>

#include "base/error.h"
#include "fs/control_message.h"
#include "fs/file_layer.h"

namespace atl::fs {

// False: nobody listens any more, and the job may end.
using OnReply = std::function<bool(const ControlReply&)>;

// Gives every reply, kDone or kError last, one at a time. Not for kInfo and kUnmount, which are the
// daemon's own.
void perform(FileLayer& layer,
             const ControlRequest& request,
             const std::stop_token& stop,
             const OnReply& reply);

ControlReply error_reply(Error error);

}  // namespace atl::fs
