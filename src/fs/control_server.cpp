// One thread accepts and watches: it polls the socket and every connection, for hang-ups while a job
// runs; each connection's thread reads the request, runs it and writes the replies.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/unique_fd.h"
#include "fs/control_socket.h"
#include "fs/control_stream.h"

namespace atl::fs {
namespace {

constexpr size_t kMaxConnections = 16;
constexpr int kBacklog = 16;

struct Connection {
  UniqueFd socket;
  std::stop_source stop;
  std::thread thread;
  bool ended = false;       // the thread may be joined
  bool unmounting = false;  // wanted until its end
};

class Server : public ControlServer {
 public:
  Server(FileLayer& layer, ControlHooks hooks, UniqueFd listener, UniqueFd directory)
      : layer_(layer),
        hooks_(std::move(hooks)),
        listener_(std::move(listener)),
        directory_(std::move(directory)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    ATOLL_CHECK(wake_) << errno;
    watcher_ = std::thread([this] { watch(); });
  }
  ~Server() override;
  bool finish_unmounts() override;

 private:
  void watch();
  void accept_one();
  void join_ended();
  void serve(Connection& connection);
  void answer(Connection& connection, const ControlRequest& request, const OnReply& reply);
  void unmount(Connection& connection, const ControlRequest& request, const OnReply& reply);
  void wake() const {
    const uint64_t one = 1;
    ATOLL_CHECK(::write(wake_.get(), &one, sizeof(one)) == sizeof(one)) << errno;
  }

  FileLayer& layer_;
  const ControlHooks hooks_;
  const UniqueFd listener_;
  const UniqueFd directory_;
  const UniqueFd wake_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Connection> connections_;
  bool ending_ = false;
  bool unmounted_ = false;
  std::thread watcher_;
};

Server::~Server() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (Connection& connection : connections_) {
      connection.stop.request_stop();
      ::shutdown(connection.socket.get(), SHUT_RDWR);  // also out of a read or a write
    }
  }
  wake();
  watcher_.join();
  // No thread adds to the list any more.
  for (Connection& connection : connections_) connection.thread.join();
  ::unlinkat(directory_.get(), kControlSocketName, 0);
}

bool Server::finish_unmounts() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    for (const Connection& connection : connections_) {
      if (connection.unmounting && !connection.ended) return false;
    }
    return true;
  });
  return unmounted_;
}

void Server::join_ended() {
  std::list<Connection> ended;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = connections_.begin(); at != connections_.end();) {
      const auto next = std::next(at);
      if (at->ended) ended.splice(ended.end(), connections_, at);
      at = next;
    }
  }
  for (Connection& connection : ended) connection.thread.join();
}

void Server::accept_one() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket || !is_ours(socket.get()) || !set_timeouts(socket.get())) return;
  const std::lock_guard lock(mutex_);
  if (ending_ || connections_.size() >= kMaxConnections) return;
  Connection& connection = connections_.emplace_back();
  connection.socket = std::move(socket);
  connection.thread = std::thread([this, &connection] { serve(connection); });
}

void Server::watch() {
  for (;;) {
    join_ended();
    std::vector<pollfd> wanted = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    std::vector<Connection*> watched;
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      for (Connection& connection : connections_) {
        // One that has hung up would wake us for ever.
        if (connection.ended || connection.stop.stop_requested()) continue;
        wanted.push_back({connection.socket.get(), POLLRDHUP, 0});
        watched.push_back(&connection);
      }
    }
    if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
    uint64_t count = 0;
    if (wanted[1].revents != 0) (void)!::read(wake_.get(), &count, sizeof(count));
    for (size_t i = 0; i < watched.size(); ++i) {
      // Only this thread takes connections out of the list, so they are still there.
      if (wanted[i + 2].revents != 0) watched[i]->stop.request_stop();
    }
    if (wanted[0].revents != 0) accept_one();
  }
}

void Server::serve(Connection& connection) {
  const int socket = connection.socket.get();
  const OnReply reply = [&](const ControlReply& message) {
    return send_frame(socket, to_json(message)).has_value();
  };
  FrameReader reader(kMaxRequestBytes);
  const auto text = receive_frame(socket, reader);
  if (text && *text) {
    const auto request = parse_request(**text);
    if (request) {
      answer(connection, *request, reply);
    } else {
      reply(error_reply(request.error()));
    }
  } else if (!text) {
    reply(error_reply(text.error()));
  }
  ::shutdown(socket, SHUT_RDWR);
  {
    const std::lock_guard lock(mutex_);
    connection.ended = true;
  }
  changed_.notify_all();
  wake();
}

void Server::answer(Connection& connection, const ControlRequest& request, const OnReply& reply) {
  try {
    if (request.command == ControlCommand::kInfo) {
      reply({.info = hooks_.info()});
    } else if (request.command == ControlCommand::kUnmount) {
      unmount(connection, request, reply);
    } else {
      perform(layer_, request, connection.stop.get_token(), reply);
    }
  } catch (const std::exception& error) {  // no memory
    reply(error_reply({.code = ErrorCode::kInternal, .message = error.what()}));
  }
}

void Server::unmount(Connection& connection, const ControlRequest& request, const OnReply& reply) {
  {
    const std::lock_guard lock(mutex_);
    connection.unmounting = true;
  }
  const auto unmounted = hooks_.unmount(request.lazily);
  if (!unmounted) {
    reply(error_reply(unmounted.error()));
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    unmounted_ = true;
  }
  if (!hooks_.export_after_unmount) {
    reply({});
    return;
  }
  perform(layer_, {.command = ControlCommand::kExport}, connection.stop.get_token(), reply);
}

Result<UniqueFd> listen_in(int directory, const std::string& name) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("making the control socket", errno);
  ::unlinkat(directory, kControlSocketName, 0);
  const sockaddr_un address = control_address(directory);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  // Before anybody can connect: bind(2) takes the mode from the descriptor.
  if (::fchmod(socket.get(), S_IRUSR | S_IWUSR) != 0 ||
      ::bind(socket.get(), generic, sizeof(address)) != 0 ||
      ::fchmodat(directory, kControlSocketName, S_IRUSR | S_IWUSR, 0) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return fail_errno(fmt::format("making the control socket in {}", name), errno);
  }
  return socket;
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& directory,
                                                            FileLayer& layer,
                                                            ControlHooks hooks) {
  UniqueFd folder(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail_errno(directory, errno);
  UniqueFd listener = ATOLL_TRY(listen_in(folder.get(), directory));
  return std::make_unique<Server>(layer, std::move(hooks), std::move(listener), std::move(folder));
}

}  // namespace atl::fs
