#include "storage/s3/http_engine.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <latch>
#include <thread>

#include "storage/s3/scripted_server.h"

namespace atl::storage {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using Then = ScriptedAnswer::Then;

std::shared_ptr<HttpEngine> make_engine(HttpEngineOptions options = {}) {
  auto engine = HttpEngine::make(std::move(options));
  EXPECT_TRUE(engine.has_value()) << engine.error().to_string();
  return std::move(*engine);
}

HttpRequest get(std::string url) {
  HttpRequest request;
  request.url = std::move(url);
  return request;
}

Blob blob(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(HttpEngine, a_request_goes_out_as_it_was_given) {
  ScriptedServer server([](const ScriptedRequest&) {
    return scripted_answer(201, "made", {{"ETag", "\"x\""}, {"X-Empty", ""}});
  });
  const auto engine = make_engine();
  HttpRequest request = get(server.url() + "/a/../b%20c//d?x=1&y=%2F");
  request.method = "PUT";
  request.headers = {{"X-One", "1"}, {"X-Empty", ""}};
  request.body = blob("content");
  const auto response = engine->perform(request);
  ASSERT_TRUE(response.has_value()) << response.error().to_string();
  EXPECT_EQ(response->status, 201);
  EXPECT_EQ(response->body, "made");
  EXPECT_EQ(response->body_bytes, 4u);
  EXPECT_EQ(response->header("etag"), "\"x\"");
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].method, "PUT");
  EXPECT_EQ(requests[0].target, "/a/../b%20c//d?x=1&y=%2F");
  EXPECT_EQ(requests[0].body, "content");
  EXPECT_EQ(requests[0].header("x-one"), "1");
  EXPECT_EQ(requests[0].header("host"), server.host());
  EXPECT_EQ(requests[0].header("expect"), "");
}

TEST(HttpEngine, every_method_sends_what_it_should) {
  ScriptedServer server([](const ScriptedRequest& request) {
    auto answer = scripted_answer(200, "12345");
    if (request.method == "HEAD") answer.bytes.erase(answer.bytes.size() - 5);
    return answer;
  });
  const auto engine = make_engine();
  for (const char* method : {"GET", "HEAD", "PUT", "POST", "DELETE"}) {
    HttpRequest request = get(server.url() + "/");
    request.method = method;
    const auto response = engine->perform(request);
    ASSERT_TRUE(response.has_value()) << response.error().to_string();
    EXPECT_EQ(response->header("content-length"), "5");
    EXPECT_EQ(response->body, std::string(method) == "HEAD" ? "" : "12345");
  }
  std::vector<std::string> methods;
  for (const auto& request : server.requests()) {
    methods.push_back(request.method + " " + std::string(request.header("content-length")));
  }
  EXPECT_THAT(methods, testing::ElementsAre("GET ", "HEAD ", "PUT 0", "POST 0", "DELETE "));
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpEngine, a_body_goes_straight_into_the_callers_memory) {
  std::string content(3'000'000, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 >> 3);
  ScriptedServer server([&](const ScriptedRequest&) { return scripted_answer(206, content); });
  const auto engine = make_engine();
  std::vector<std::byte> into(content.size());
  HttpRequest request = get(server.url() + "/x");
  request.into = into;
  const auto response = engine->perform(request);
  ASSERT_TRUE(response.has_value()) << response.error().to_string();
  EXPECT_EQ(response->body_bytes, content.size());
  EXPECT_EQ(response->body, "");
  EXPECT_TRUE(text_of(into) == content);
}

TEST(HttpEngine, a_shorter_body_leaves_the_rest_of_the_memory_alone) {
  ScriptedServer server([](const ScriptedRequest&) { return scripted_answer(206, "abc"); });
  std::vector<std::byte> into(5, std::byte{'-'});
  HttpRequest request = get(server.url() + "/x");
  request.into = into;
  const auto response = make_engine()->perform(request);
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body_bytes, 3u);
  EXPECT_EQ(text_of(into), "abc--");
}

TEST(HttpEngine, an_error_answer_does_not_go_into_the_callers_memory) {
  ScriptedServer server([](const ScriptedRequest&) { return scripted_answer(404, "<Error/>"); });
  std::vector<std::byte> into(4, std::byte{'-'});
  HttpRequest request = get(server.url() + "/x");
  request.into = into;
  const auto response = make_engine()->perform(request);
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 404);
  EXPECT_EQ(response->body, "<Error/>");
  EXPECT_EQ(text_of(into), "----");
}

TEST(HttpEngine, a_body_longer_than_the_memory_for_it_is_an_error) {
  ScriptedServer server([](const ScriptedRequest&) { return scripted_answer(200, "12345"); });
  const auto engine = make_engine();
  std::vector<std::byte> into(4);
  HttpRequest request = get(server.url() + "/x");
  request.into = into;
  const auto direct = engine->perform(request);
  ASSERT_FALSE(direct.has_value());
  EXPECT_EQ(direct.error().code, ErrorCode::kIo);
  EXPECT_THAT(direct.error().message, HasSubstr("longer than 4 bytes"));
  request.into = {};
  request.max_body_bytes = 4;
  EXPECT_FALSE(engine->perform(request).has_value());
  request.max_body_bytes = 5;
  EXPECT_TRUE(engine->perform(request).has_value());
}

TEST(HttpEngine, a_short_body_is_an_error_with_and_without_a_reset) {
  ScriptedServer server([](const ScriptedRequest& request) {
    auto answer = scripted_answer(200, "1234567890");
    answer.bytes.erase(answer.bytes.size() - 3);
    answer.then = request.target == "/reset" ? Then::kReset : Then::kClose;
    return answer;
  });
  const auto engine = make_engine();
  for (const char* path : {"/close", "/reset"}) {
    const auto response = engine->perform(get(server.url() + path));
    ASSERT_FALSE(response.has_value()) << path;
    EXPECT_EQ(response.error().code, ErrorCode::kIo);
    EXPECT_THAT(response.error().message, HasSubstr(std::string("GET http://127.0.0.1")));
  }
}

TEST(HttpEngine, an_answer_without_an_end_or_without_sense_is_an_error) {
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 10'000; ++i)
    many += fmt::format("X-{}: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", i);
  const std::vector<std::string> answers = {
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
      "HTTP/1.1 200 OK\r\nContent-Le",
      "not HTTP at all\r\n\r\n",
      "",
      many,
  };
  ScriptedServer server([&](const ScriptedRequest& request) {
    return ScriptedAnswer{answers[std::stoul(request.target.substr(1))], Then::kClose};
  });
  const auto engine = make_engine();
  for (size_t i = 0; i < answers.size(); ++i) {
    const auto response = engine->perform(get(fmt::format("{}/{}", server.url(), i)));
    ASSERT_FALSE(response.has_value()) << answers[i].substr(0, 80);
    EXPECT_EQ(response.error().code, ErrorCode::kIo);
  }
}

TEST(HttpEngine, a_stalled_answer_is_given_up) {
  ScriptedServer server([](const ScriptedRequest& request) {
    auto answer = scripted_answer(200, "1234567890");
    answer.bytes.erase(request.target == "/silent" ? 0 : answer.bytes.size() - 3);
    answer.then = Then::kHold;
    return answer;
  });
  const auto engine = make_engine();
  for (const char* path : {"/silent", "/half"}) {
    HttpRequest request = get(server.url() + path);
    request.stall_timeout = milliseconds(30);
    const auto response = engine->perform(request);
    ASSERT_FALSE(response.has_value()) << path;
    EXPECT_THAT(response.error().message, HasSubstr("stalled"));
  }
}

TEST(HttpEngine, the_deadline_ends_a_request_that_also_waits_for_a_connection) {
  ScriptedServer server([](const ScriptedRequest&) { return ScriptedAnswer{"", Then::kHold}; });
  HttpEngineOptions options;
  options.max_connections_per_host = 1;
  std::promise<Result<HttpResponse>> first;
  const auto engine = make_engine(options);
  engine->start(get(server.url() + "/1"), [&](auto result) { first.set_value(std::move(result)); });
  server.wait_for_requests(1);
  HttpRequest second = get(server.url() + "/2");
  second.deadline = milliseconds(30);
  const auto response = engine->perform(second);
  ASSERT_FALSE(response.has_value());
  EXPECT_THAT(response.error().message, HasSubstr("deadline"));
  EXPECT_EQ(server.requests().size(), 1u);
  HttpRequest third = second;
  third.deadline = milliseconds(40);
  EXPECT_FALSE(engine->perform(third).has_value());
}

TEST(HttpEngine, connections_are_kept_and_limited) {
  ScriptedServer server([](const ScriptedRequest&) { return scripted_answer(200, "x"); });
  HttpEngineOptions options;
  options.max_connections_per_host = 2;
  const auto engine = make_engine(options);
  constexpr int kRequests = 200;
  std::latch left(kRequests);
  std::atomic<int> good = 0;
  for (int i = 0; i < kRequests; ++i) {
    engine->start(get(fmt::format("{}/{}", server.url(), i)), [&](Result<HttpResponse> result) {
      if (result.has_value() && result->status == 200) ++good;
      left.count_down();
    });
  }
  left.wait();
  EXPECT_EQ(good, kRequests);
  EXPECT_LE(server.connections(), 2);
  EXPECT_EQ(server.requests().size(), static_cast<size_t>(kRequests));
}

TEST(HttpEngine, requests_that_wait_for_a_connection_keep_their_order) {
  ScriptedServer server([](const ScriptedRequest&) { return scripted_answer(200, "x"); });
  HttpEngineOptions options;
  options.max_connections_per_host = 1;
  const auto engine = make_engine(options);
  constexpr int kRequests = 50;
  std::latch left(kRequests);
  for (int i = 0; i < kRequests; ++i) {
    engine->start(get(fmt::format("{}/{}", server.url(), i)), [&](auto) { left.count_down(); });
  }
  left.wait();
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), static_cast<size_t>(kRequests));
  for (int i = 0; i < kRequests; ++i) EXPECT_EQ(requests[i].target, fmt::format("/{}", i));
}

TEST(HttpEngine, a_kept_connection_that_the_server_has_closed_is_replaced) {
  ScriptedServer server([](const ScriptedRequest& request) {
    auto answer = scripted_answer(200, request.body);
    answer.then = Then::kClose;
    return answer;
  });
  const auto engine = make_engine();
  for (int i = 0; i < 20; ++i) {
    HttpRequest request = get(server.url() + "/");
    request.method = "PUT";
    request.body = blob("the same again");
    const auto response = engine->perform(request);
    ASSERT_TRUE(response.has_value()) << response.error().to_string();
    EXPECT_EQ(response->body, "the same again");
  }
}

TEST(HttpEngine, a_cancelled_request_ends_at_once_whether_it_runs_or_waits) {
  ScriptedServer server([](const ScriptedRequest&) { return ScriptedAnswer{"", Then::kHold}; });
  HttpEngineOptions options;
  options.max_connections_per_host = 1;
  const auto engine = make_engine(options);
  std::promise<Result<HttpResponse>> running;
  std::promise<Result<HttpResponse>> waiting;
  const auto first =
      engine->start(get(server.url() + "/1"), [&](auto r) { running.set_value(std::move(r)); });
  const auto second =
      engine->start(get(server.url() + "/2"), [&](auto r) { waiting.set_value(std::move(r)); });
  server.wait_for_requests(1);
  engine->cancel(second);
  EXPECT_EQ(waiting.get_future().get().error().code, ErrorCode::kCancelled);
  engine->cancel(first);
  EXPECT_EQ(running.get_future().get().error().code, ErrorCode::kCancelled);
  engine->cancel(first);
  engine->cancel(12345);
}

TEST(HttpEngine, a_delayed_call_comes_when_its_time_has_come_or_is_cancelled) {
  const auto engine = make_engine();
  std::promise<void> called;
  const auto start = std::chrono::steady_clock::now();
  engine->call_after(milliseconds(20), [&] { called.set_value(); });
  called.get_future().get();
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(20));
  std::promise<void> early;
  const auto id = engine->call_after(std::chrono::hours(1), [&] { early.set_value(); });
  engine->cancel(id);
  early.get_future().get();
}

TEST(HttpEngine, callbacks_may_start_further_requests) {
  ScriptedServer server([](const ScriptedRequest&) { return scripted_answer(200); });
  const auto engine = make_engine();
  std::promise<int> last;
  std::function<void(int)> next = [&](int n) {
    engine->start(get(server.url() + "/"), [&, n](Result<HttpResponse> result) {
      if (!result || n == 10) return last.set_value(n);
      next(n + 1);
    });
  };
  next(0);
  EXPECT_EQ(last.get_future().get(), 10);
}

TEST(HttpEngine, its_end_cancels_what_is_under_way) {
  ScriptedServer server([](const ScriptedRequest&) { return ScriptedAnswer{"", Then::kHold}; });
  std::promise<Result<HttpResponse>> running;
  bool was_called = false;
  {
    const auto engine = make_engine();
    engine->start(get(server.url() + "/1"), [&](auto r) { running.set_value(std::move(r)); });
    engine->call_after(std::chrono::hours(1), [&] { was_called = true; });
  }
  EXPECT_EQ(running.get_future().get().error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(was_called);
}

TEST(HttpEngine, its_last_owner_may_be_a_callback) {
  ScriptedServer server([](const ScriptedRequest&) { return scripted_answer(200); });
  std::promise<void> done;
  std::promise<void> handed_over;
  {
    auto engine = make_engine();
    auto* raw = engine.get();
    raw->start(get(server.url() + "/"), [&done, &handed_over, owner = engine](auto) mutable {
      handed_over.get_future().get();
      owner.reset();
      done.set_value();
    });
  }
  handed_over.set_value();
  done.get_future().get();
}

TEST(HttpEngine, a_child_process_is_told_that_the_engine_is_its_parents) {
  const auto engine = make_engine();
  const pid_t child = ::fork();
  if (child == 0) {
    const auto response = engine->perform(get("http://127.0.0.1:1/"));
    ::_exit(!response && response.error().message.find("forked") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(HttpEngine, a_refused_connection_and_a_malformed_url_are_errors_of_different_kinds) {
  const auto engine = make_engine();
  int port = 0;
  {
    const ScriptedServer server([](const ScriptedRequest&) { return scripted_answer(200); });
    port = server.port();
  }
  const auto refused =
      engine->perform(get(fmt::format("http://127.0.0.1:{}/a?X-Amz-Signature=1", port)));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kIo);
  EXPECT_THAT(refused.error().to_string(), testing::Not(HasSubstr("Signature")));
  for (const char* url : {"", "gopher://x/", "http://", "http://[::1"}) {
    const auto malformed = engine->perform(get(url));
    ASSERT_FALSE(malformed.has_value()) << url;
    EXPECT_EQ(malformed.error().code, ErrorCode::kInvalidInput) << malformed.error().to_string();
  }
}

TEST(HttpEngine, a_bundle_that_is_not_there_is_said_at_once) {
  HttpEngineOptions options;
  options.ca_bundle = "/no/such/bundle.pem";
  const auto engine = HttpEngine::make(options);
  ASSERT_FALSE(engine.has_value());
  EXPECT_EQ(engine.error().code, ErrorCode::kInvalidInput);
}

}  // namespace
}  // namespace atl::storage
