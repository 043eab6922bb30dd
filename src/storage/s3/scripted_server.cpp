#include "storage/s3/scripted_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/check.h"

namespace atl::storage {

namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool receive_more(int socket, std::string& received) {
  std::array<char, 65536> buffer;
  const ssize_t size = ::recv(socket, buffer.data(), buffer.size(), 0);
  if (size <= 0) return false;
  received.append(buffer.data(), static_cast<size_t>(size));
  return true;
}

// From the text before the empty line.
ScriptedRequest parse_head(std::string_view head) {
  ScriptedRequest request;
  size_t begin = 0;
  while (begin < head.size()) {
    const size_t end = std::min(head.find("\r\n", begin), head.size());
    const std::string_view line = head.substr(begin, end - begin);
    if (request.method.empty()) {
      const size_t first = line.find(' ');
      const size_t second = line.find(' ', first + 1);
      request.method = line.substr(0, first);
      request.target = line.substr(first + 1, second - first - 1);
    } else if (const size_t colon = line.find(':'); colon != std::string_view::npos) {
      const size_t value = line.find_first_not_of(' ', colon + 1);
      request.headers.push_back(
          {lower_case(line.substr(0, colon)),
           value == std::string_view::npos ? std::string() : std::string(line.substr(value))});
    }
    begin = end + 2;
  }
  return request;
}

}  // namespace

std::string_view ScriptedRequest::header(std::string_view lower_case_name) const {
  for (const HttpHeader& header : headers) {
    if (header.name == lower_case_name) return header.value;
  }
  return {};
}

ScriptedAnswer scripted_answer(int status,
                               std::string_view body,
                               const std::vector<HttpHeader>& headers) {
  ScriptedAnswer answer;
  answer.bytes = fmt::format("HTTP/1.1 {} Scripted\r\nContent-Length: {}\r\n", status, body.size());
  for (const HttpHeader& header : headers) {
    answer.bytes += fmt::format("{}: {}\r\n", header.name, header.value);
  }
  answer.bytes += "\r\n";
  answer.bytes += body;
  return answer;
}

ScriptedServer::ScriptedServer(Script script) : script_(std::move(script)) {
  listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  ATOLL_CHECK(::bind(listener_.get(), generic, size) == 0 && ::listen(listener_.get(), 128) == 0 &&
              ::getsockname(listener_.get(), generic, &size) == 0)
      << "no port to listen on";
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_connections(); });
}

ScriptedServer::~ScriptedServer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }
  changed_.notify_all();
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
}

std::string ScriptedServer::host() const { return fmt::format("127.0.0.1:{}", port_); }

std::string ScriptedServer::url() const { return "http://" + host(); }

std::vector<ScriptedRequest> ScriptedServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

int ScriptedServer::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(threads_.size());
}

void ScriptedServer::wait_for_requests(size_t count) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return requests_.size() >= count; });
}

void ScriptedServer::accept_connections() {
  for (;;) {
    const int socket = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard lock(mutex_);
    if (ending_ || socket < 0) {
      if (socket >= 0) ::close(socket);
      if (ending_) return;
      continue;
    }
    const int connection = static_cast<int>(threads_.size());
    sockets_.push_back(socket);
    threads_.emplace_back([this, socket, connection] { serve(socket, connection); });
  }
}

void ScriptedServer::serve(int socket, int connection) {
  std::string received;
  while (answer_one(socket, connection, received)) {
  }
  const std::lock_guard lock(mutex_);
  std::erase(sockets_, socket);
  ::close(socket);
}

// False when the connection is to end.
bool ScriptedServer::answer_one(int socket, int connection, std::string& received) {
  size_t head_end = 0;
  while ((head_end = received.find("\r\n\r\n")) == std::string::npos) {
    if (!receive_more(socket, received)) return false;
  }
  ScriptedRequest request = parse_head(std::string_view(received).substr(0, head_end));
  request.connection = connection;
  const std::string_view length = request.header("content-length");
  size_t body_bytes = 0;
  std::from_chars(length.data(), length.data() + length.size(), body_bytes);
  received.erase(0, head_end + 4);
  while (received.size() < body_bytes) {
    if (!receive_more(socket, received)) return false;
  }
  request.body = received.substr(0, body_bytes);
  received.erase(0, body_bytes);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  changed_.notify_all();

  const ScriptedAnswer answer = script_(request);
  if (!send_all(socket, answer.bytes)) return false;
  switch (answer.then) {
    case ScriptedAnswer::Then::kKeep:
      return true;
    case ScriptedAnswer::Then::kClose:
      return false;
    case ScriptedAnswer::Then::kReset: {
      // Closing without lingering sends a reset.
      const linger now{1, 0};
      ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      return false;
    }
    case ScriptedAnswer::Then::kHold: {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_; });
      return false;
    }
  }
  return false;
}

}  // namespace atl::storage
