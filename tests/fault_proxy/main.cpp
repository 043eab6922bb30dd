// fault_proxy: a bad network between an S3 client and its server, as bad as asked for, and always the same one.
//
//   fault_proxy --to 127.0.0.1:7480 [--port N] [--control N] [name=value ...]
//   fault_proxy --to 127.0.0.1:7480 latency_ms=20 http_503=10 reset=5 seed=7
//
// Says its ports in one line of JSON and runs until SIGINT or SIGTERM; then, and on SIGUSR1, it prints its counts
// in another. Settings are those of settings.h, faults in per mille of the requests; control.h changes them.
// It refuses to speak TLS and to be reached from other machines.
#include <fmt/format.h>

#include <charconv>
#include <csignal>
#include <iostream>
#include <span>
#include <string>
#include <string_view>

#include "control.h"
#include "proxy.h"

namespace atl::fault_proxy {
namespace {

constexpr std::string_view kUsage =
    "usage: fault_proxy --to ADDRESS:PORT [--port N] [--control N] [name=value ...]";

struct Arguments {
  ProxyOptions proxy;
  uint16_t control_port = 0;
};

Result<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorCode::kInvalidInput, fmt::format("'{}' is no port", text));
  }
  return port;
}

Result<Arguments> parse(std::span<char* const> words) {
  Arguments arguments;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    const std::string_view next = i + 1 < words.size() ? words[i + 1] : "";
    if (word == "--to") {
      const size_t colon = next.rfind(':');
      if (colon == std::string_view::npos)
        return fail(ErrorCode::kInvalidInput, std::string(kUsage));
      arguments.proxy.server_host = next.substr(0, colon);
      arguments.proxy.server_port = ATOLL_TRY(parse_port(next.substr(colon + 1)));
    } else if (word == "--port") {
      arguments.proxy.port = ATOLL_TRY(parse_port(next));
    } else if (word == "--control") {
      arguments.control_port = ATOLL_TRY(parse_port(next));
    } else {
      const size_t equals = word.find('=');
      if (equals == std::string_view::npos)
        return fail(ErrorCode::kInvalidInput, std::string(kUsage));
      ATOLL_TRY(arguments.proxy.settings.set(word.substr(0, equals), word.substr(equals + 1)));
      continue;
    }
    ++i;
  }
  if (arguments.proxy.server_port == 0) return fail(ErrorCode::kInvalidInput, std::string(kUsage));
  return arguments;
}

Result<void> run(std::span<char* const> words) {
  const Arguments arguments = ATOLL_TRY(parse(words));
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto proxy = ATOLL_TRY(Proxy::start(arguments.proxy));
  const Control control(*proxy, ATOLL_TRY(listen_on(arguments.control_port)));
  std::cout << fmt::format("{{\"port\":{},\"control\":{}}}", proxy->port(), control.port())
            << std::endl;
  int signal = SIGUSR1;
  while (signal == SIGUSR1) {
    sigwait(&signals, &signal);
    std::cout << proxy->counts_json() << std::endl;
  }
  return {};
}

}  // namespace
}  // namespace atl::fault_proxy

int main(int argc, char** argv) {
  const auto result = atl::fault_proxy::run({argv + 1, static_cast<size_t>(argc - 1)});
  if (result) return 0;
  std::cerr << "fault_proxy: " << result.error().to_string() << "\n";
  return atl::exit_code(result.error());
}
