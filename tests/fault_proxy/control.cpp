#include "control.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <charconv>
#include <utility>
#include <vector>

#include "http_message.h"

namespace atl::fault_proxy {
namespace {

using Parameters = std::vector<std::pair<std::string_view, std::string_view>>;

Parameters parameters_of(std::string_view query) {
  Parameters parameters;
  while (!query.empty()) {
    const std::string_view parameter = query.substr(0, query.find('&'));
    const size_t equals = std::min(parameter.find('='), parameter.size());
    parameters.emplace_back(parameter.substr(0, equals),
                            parameter.substr(std::min(equals + 1, parameter.size())));
    query.remove_prefix(std::min(query.size(), parameter.size() + 1));
  }
  return parameters;
}

Result<std::chrono::milliseconds> duration_of(const Parameters& parameters) {
  int64_t ms = -1;
  for (const auto& [name, value] : parameters) {
    if (name == "ms") std::from_chars(value.data(), value.data() + value.size(), ms);
  }
  if (ms < 0) return fail(ErrorCode::kInvalidInput, "ms=N is missing");
  return std::chrono::milliseconds(ms);
}

}  // namespace

Result<std::string> control(Proxy& proxy, std::string_view target) {
  const size_t question = std::min(target.find('?'), target.size());
  const std::string_view path = target.substr(0, question);
  const Parameters parameters = parameters_of(target.substr(std::min(question + 1, target.size())));
  if (path == "/set") {
    for (const auto& [name, value] : parameters) ATOLL_TRY(proxy.set(name, value));
  } else if (path == "/unplug") {
    proxy.unplug(ATOLL_TRY(duration_of(parameters)));
  } else if (path == "/refuse") {
    proxy.refuse(ATOLL_TRY(duration_of(parameters)));
  } else if (path == "/reset") {
    proxy.reset_counts();
  } else if (path != "/counts") {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("there is no {}: /counts /reset /set /unplug /refuse", path));
  }
  return proxy.counts_json();
}

Control::Control(Proxy& proxy, UniqueFd listener)
    : proxy_(proxy), listener_(std::move(listener)), thread_([this] { serve(); }) {}

Control::~Control() {
  ::shutdown(listener_.get(), SHUT_RDWR);
  thread_.join();
}

void Control::serve() {
  for (;;) {
    const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) return;
    const timeval patience = {5, 0};
    ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    answer(client.get());
  }
}

void Control::answer(int client) {
  std::string text;
  std::optional<Head> request;
  for (bool malformed = false; !request && !malformed; request = parse_head(text, malformed)) {
    char buffer[4096];
    const ssize_t got = ::recv(client, buffer, sizeof buffer, 0);
    if (got <= 0) return;
    text.append(buffer, static_cast<size_t>(got));
  }
  if (!request) return;
  const Result<std::string> result = control(proxy_, request->target);
  const std::string body = (result ? *result : result.error().to_string()) + "\n";
  const std::string answer =
      fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
                  result ? "200 OK" : "400 Bad Request",
                  body.size(),
                  body);
  ::send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
}

}  // namespace atl::fault_proxy
