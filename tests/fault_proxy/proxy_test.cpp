// The proxy between a client of raw sockets and a small server in this process.
#include "proxy.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "control.h"

namespace atl::fault_proxy {
namespace {

using testing::HasSubstr;

std::string content(size_t size) {
  std::string text(size, ' ');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return text;
}

// Answers "/N" with N bytes, "/chunked" in chunks, PUT with the number of bytes that came.
class Server {
 public:
  Server() : listener_(*listen_on(0)), thread_([this] { accept_all(); }) {}
  ~Server() {
    stopping_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    for (const auto& client : clients_) ::shutdown(client->get(), SHUT_RDWR);
    for (std::thread& thread : threads_) thread.join();
  }
  uint16_t port() const { return port_of(listener_.get()); }
  int requests() const { return requests_; }

 private:
  void accept_all() {
    for (;;) {
      auto client = std::make_unique<UniqueFd>(::accept(listener_.get(), nullptr, nullptr));
      if (!*client) return;
      threads_.emplace_back([this, fd = client->get()] { serve(fd); });
      clients_.push_back(std::move(client));
    }
  }
  void serve(int fd) {
    std::string text;
    for (;;) {
      bool malformed = false;
      if (const auto head = parse_head(text, malformed)) {
        text.erase(0, head->text.size());
        ++requests_;
        Body body = Body::of_request(*head);
        while (!body.complete()) {
          text.erase(0, body.consume(text));
          if (!body.complete() && !receive(fd, text)) return;
        }
        const std::string answer = answer_to(*head);
        if (::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
      } else if (!receive(fd, text)) {
        return;
      }
    }
  }
  static bool receive(int fd, std::string& text) {
    char buffer[65536];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got > 0) text.append(buffer, static_cast<size_t>(got));
    return got > 0;
  }
  static std::string answer_to(const Head& head) {
    if (head.target == "/chunked") {
      return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    }
    const std::string body = head.method == "PUT" ? std::to_string(head.content_length.value_or(0))
                                                  : content(std::stoul(head.target.substr(1)));
    return fmt::format(
        "HTTP/1.1 200 OK\r\nETag: \"abc1\"\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
  }

  UniqueFd listener_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> requests_{0};
  std::vector<std::unique_ptr<UniqueFd>> clients_;
  std::vector<std::thread> threads_;
  std::thread thread_;
};

struct Answer {
  std::string head, body;
  int error = 0;  // errno of the read that ended it
  bool whole = false;
};

class Client {
 public:
  explicit Client(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ =
        ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }
  Answer ask(const std::string& request) {
    ::send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL);
    return receive();
  }
  Answer receive() {
    Answer answer;
    std::string text;
    std::optional<Head> head;
    Body body;
    for (;;) {
      bool malformed = false;
      if (!head && (head = parse_head(text, malformed))) {
        body = Body::of_response(*head, "GET");
        answer.head = head->text;
        text.erase(0, head->text.size());
      }
      if (head) {
        const size_t taken = body.consume(text);
        answer.body += text.substr(0, taken);
        text.erase(0, taken);
        answer.whole = body.complete();
      }
      if (answer.whole) return answer;
      char buffer[65536];
      const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      answer.error = got < 0 ? errno : 0;
      if (got <= 0) return answer;
      text.append(buffer, static_cast<size_t>(got));
    }
  }

 private:
  UniqueFd fd_;
  bool connected_ = false;
};

std::string get(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"; }

class ProxyTest : public testing::Test {
 protected:
  void set(std::string_view name, std::string_view value) { ASSERT_TRUE(proxy_->set(name, value)); }
  nlohmann::json counts() const {
    for (;;) {
      auto counts = nlohmann::json::parse(proxy_->counts_json());
      if (counts["under_way"] == 0) return counts;
      std::this_thread::yield();
    }
  }
  int faults(const std::string& name) const { return counts()["faults"][name]; }
  // Every request meets this fault.
  void always(std::string_view fault) { set(fault, "1000"); }
  Answer ask(const std::string& request) { return Client(proxy_->port()).ask(request); }

  Server server_;
  std::unique_ptr<Proxy> proxy_ = *Proxy::start({.server_port = server_.port()});
};

TEST_F(ProxyTest, bytes_pass_unchanged_and_are_counted) {
  Client client(proxy_->port());
  size_t total = 0;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{70000}, size_t{20'000'000}}) {
    const Answer answer = client.ask(get("/" + std::to_string(size)));
    EXPECT_TRUE(answer.whole);
    EXPECT_EQ(answer.body, content(size));
    total += size;
  }
  EXPECT_EQ(client.ask(get("/chunked")).body, "5\r\nhello\r\n0\r\n\r\n");
  EXPECT_EQ(client.ask("PUT /k HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + content(300000)).body,
            "300000");
  EXPECT_EQ(counts()["requests"]["GET"], 5);
  EXPECT_EQ(counts()["response_bytes"]["GET"],
            total + std::string_view("5\r\nhello\r\n0\r\n\r\n").size());
  EXPECT_EQ(counts()["request_bytes"]["PUT"], 300000);
  EXPECT_EQ(counts()["connections"], 1);
}

TEST_F(ProxyTest, latency_delays_and_loses_nothing) {
  set("latency_ms", "30");
  const auto begin = Clock::now();
  const Answer answer = ask(get("/3000000"));
  EXPECT_EQ(answer.body, content(3000000));
  EXPECT_GE(Clock::now() - begin,
            std::chrono::milliseconds(60));  // the handshake's and the request's
}

TEST_F(ProxyTest, a_limited_wire_carries_so_much) {
  set("bandwidth_mb_per_s", "20");
  const auto begin = Clock::now();
  EXPECT_EQ(ask(get("/2000000")).body, content(2000000));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(99));
}

TEST_F(ProxyTest, its_own_errors_never_reach_the_server_and_keep_the_connection) {
  always("http_503");
  Client client(proxy_->port());
  EXPECT_THAT(client.ask(get("/5")).head, HasSubstr(" 503 "));
  const Answer answer =
      client.ask("PUT /k HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + content(300000));
  EXPECT_THAT(answer.body, HasSubstr("<Code>SlowDown</Code>"));
  EXPECT_EQ(server_.requests(), 0);
  EXPECT_EQ(faults("http_503"), 2);
  set("http_503", "0");
  EXPECT_EQ(client.ask(get("/5")).body, content(5));
}

TEST_F(ProxyTest, a_client_that_asks_before_sending_is_told_at_once) {
  always("http_500");
  const Answer answer =
      ask("PUT /k HTTP/1.1\r\nContent-Length: 300000\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(answer.head, HasSubstr(" 500 "));
  EXPECT_THAT(answer.head, HasSubstr("Connection: close"));
  EXPECT_TRUE(answer.whole);
}

TEST_F(ProxyTest, a_reset_before_is_not_seen_by_the_server_one_after_is) {
  always("reset_before");
  EXPECT_EQ(ask(get("/5")).error, ECONNRESET);
  EXPECT_EQ(server_.requests(), 0);
  set("reset_before", "0");
  always("reset_after");
  EXPECT_EQ(ask(get("/5")).error, ECONNRESET);
  EXPECT_EQ(server_.requests(), 1);
  EXPECT_EQ(faults("reset_before") + faults("reset_after"), 2);
}

TEST_F(ProxyTest, a_truncated_body_is_a_part_and_an_orderly_end) {
  always("truncate");
  for (const int size : {1, 70000, 5'000'000}) {
    const Answer answer = ask(get("/" + std::to_string(size)));
    EXPECT_FALSE(answer.whole);
    EXPECT_EQ(answer.error, 0);
    EXPECT_LT(answer.body.size(), size);
    EXPECT_EQ(answer.body, content(size).substr(0, answer.body.size()));
  }
  EXPECT_EQ(faults("truncate"), 3);
}

TEST_F(ProxyTest, a_reset_comes_within_the_body) {
  always("reset");
  const Answer answer = ask(get("/5000000"));
  EXPECT_FALSE(answer.whole);
  EXPECT_EQ(answer.error, ECONNRESET);
  EXPECT_EQ(faults("reset"), 1);
}

TEST_F(ProxyTest, after_a_stall_the_rest_comes) {
  set("stall_ms", "40");
  always("stall");
  const auto begin = Clock::now();
  EXPECT_EQ(ask(get("/500000")).body, content(500000));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(40));
  EXPECT_EQ(faults("stall"), 1);
}

TEST_F(ProxyTest, a_trickle_is_slow_and_whole) {
  set("trickle_bytes_per_s", "10000");
  always("trickle");
  const auto begin = Clock::now();
  EXPECT_EQ(ask(get("/1000")).body, content(1000));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(90));
  EXPECT_EQ(faults("trickle"), 1);
}

TEST_F(ProxyTest, a_wrong_etag_comes_with_the_right_body) {
  always("wrong_etag");
  const Answer answer = ask(get("/500"));
  EXPECT_THAT(answer.head, HasSubstr("ETag: \"def6\""));
  EXPECT_EQ(answer.body, content(500));
}

TEST_F(ProxyTest, while_it_is_unplugged_nothing_comes_and_then_all) {
  Client client(proxy_->port());
  EXPECT_EQ(client.ask(get("/5")).body, content(5));
  const auto begin = Clock::now();
  proxy_->unplug(std::chrono::milliseconds(60));
  EXPECT_EQ(client.ask(get("/7")).body, content(7));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(60));
  EXPECT_EQ(faults("unplugged"), 1);
}

TEST_F(ProxyTest, while_it_refuses_connections_are_reset_and_then_come_back) {
  Client client(proxy_->port());
  EXPECT_EQ(client.ask(get("/5")).body, content(5));
  proxy_->refuse(std::chrono::minutes(10));
  EXPECT_FALSE(client.receive().whole);
  while (Client(proxy_->port()).connected()) std::this_thread::yield();
  proxy_->refuse(std::chrono::milliseconds(0));
  while (!Client(proxy_->port()).connected()) std::this_thread::yield();
  EXPECT_EQ(ask(get("/7")).body, content(7));
}

TEST_F(ProxyTest, many_connections_at_once_keep_their_bytes_apart) {
  set("reset", "100");
  set("stall", "100");
  set("stall_ms", "5");
  std::vector<std::thread> clients;
  clients.reserve(16);
  std::atomic<int> whole{0}, wrong{0};
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      for (int k = 0; k < 10; ++k) {
        const size_t size = 100000 + 1000 * i + k;
        const Answer answer = ask(get("/" + std::to_string(size)));
        whole += answer.whole;
        wrong += answer.body != content(size).substr(0, answer.body.size());
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(whole + faults("reset"), 160);
  EXPECT_GT(faults("reset"), 0);
}

TEST_F(ProxyTest, a_client_that_goes_away_harms_nobody_else) {
  for (int i = 0; i < 20; ++i) {
    Client client(proxy_->port());
    const std::string request = get("/20000000");
    ::send(client.fd(), request.data(), request.size(), MSG_NOSIGNAL);
    char byte = 0;
    EXPECT_EQ(::recv(client.fd(), &byte, 1, 0), 1);
  }
  EXPECT_EQ(ask(get("/5")).body, content(5));
}

TEST_F(ProxyTest, the_control_port_changes_settings_and_tells_counts) {
  Control control(*proxy_, *listen_on(0));
  EXPECT_TRUE(Client(control.port()).ask(get("/set?wrong_etag=1000&latency_ms=1")).whole);
  EXPECT_THAT(ask(get("/5")).head, HasSubstr("def6"));
  const Answer counts = Client(control.port()).ask(get("/counts"));
  EXPECT_EQ(nlohmann::json::parse(counts.body)["faults"]["wrong_etag"], 1);
  EXPECT_THAT(Client(control.port()).ask(get("/set?wrong=1")).head, HasSubstr(" 400 "));
  EXPECT_THAT(Client(control.port()).ask(get("/unplug")).body, HasSubstr("ms=N is missing"));
  EXPECT_THAT(Client(control.port()).ask(get("/nothing")).head, HasSubstr(" 400 "));
}

}  // namespace
}  // namespace atl::fault_proxy
