#include "trace/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

namespace atl::trace {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

nlohmann::json events_of(const Tracer& tracer, std::string_view phase) {
  nlohmann::json events = nlohmann::json::array();
  const auto json = nlohmann::json::parse(tracer.to_json());
  for (const auto& event : json["traceEvents"]) {
    if (event["ph"] == phase) events.push_back(event);
  }
  return events;
}

TEST(Trace, a_span_has_its_place_its_length_and_its_step) {
  Tracer tracer;
  const auto begin = Clock::now();
  tracer.complete("backward", begin, begin + microseconds(1500), 7);
  tracer.complete("no step", begin + milliseconds(1), begin + milliseconds(2));
  const auto spans = events_of(tracer, "X");
  ASSERT_EQ(spans.size(), 2);
  EXPECT_EQ(spans[0]["name"], "backward");
  EXPECT_DOUBLE_EQ(spans[0]["dur"].get<double>(), 1500);
  EXPECT_EQ(spans[0]["args"]["step"], 7);
  EXPECT_EQ(spans[0]["pid"], ::getpid());
  EXPECT_EQ(spans[0]["tid"], ::gettid());
  EXPECT_FALSE(spans[1].contains("args"));
  EXPECT_NEAR(spans[1]["ts"].get<double>() - spans[0]["ts"].get<double>(), 1000, 0.01);
}

TEST(Trace, a_span_object_records_from_its_making_to_its_end_and_may_have_no_tracer) {
  Tracer tracer;
  {
    const Span outer(&tracer, "outer", 3);
    const Span inner(&tracer, "inner");
    const Span nothing(nullptr, "nothing");
  }
  const auto spans = events_of(tracer, "X");
  ASSERT_EQ(spans.size(), 2);
  EXPECT_EQ(spans[0]["name"], "outer");  // first, although it ended last
  EXPECT_GE(spans[0]["dur"].get<double>(), spans[1]["dur"].get<double>());
}

TEST(Trace, counters_keep_their_values_and_skip_what_is_no_number) {
  Tracer tracer;
  tracer.counter("loss", 1.25);
  tracer.counter("loss", std::numeric_limits<double>::quiet_NaN());
  tracer.counter("loss", std::numeric_limits<double>::infinity());
  tracer.counter("bytes", 1e300);
  const auto counters = events_of(tracer, "C");
  ASSERT_EQ(counters.size(), 2);
  EXPECT_EQ(counters[0]["args"]["value"], 1.25);
  EXPECT_EQ(counters[1]["args"]["value"], 1e300);
}

TEST(Trace, threads_have_rows_and_names_of_their_own_whatever_they_are_called) {
  Tracer tracer;
  tracer.name_thread("main \"quoted\"\n");
  std::thread other([&] {
    tracer.name_thread("loader \xff");
    const Span span(&tracer, "decode");
  });
  other.join();
  tracer.counter("c", 1);
  std::map<int, std::string> names;
  for (const auto& event : events_of(tracer, "M")) {
    if (event["name"] == "thread_name") names[event["tid"]] = event["args"]["name"];
  }
  ASSERT_EQ(names.size(), 2);
  EXPECT_EQ(names[::gettid()], "main \"quoted\"\n");
  EXPECT_EQ(names[events_of(tracer, "X")[0]["tid"]], "loader \xef\xbf\xbd");
}

TEST(Trace, past_the_limit_the_oldest_go_and_their_number_is_told) {
  Tracer tracer(100);
  const auto start = Clock::now();
  std::thread other([&] {
    for (int i = 0; i < 50; ++i) {
      tracer.complete("old", start + microseconds(i), start + microseconds(i));
    }
  });
  other.join();
  for (int i = 0; i < 1000; ++i) {
    tracer.complete("new", start + milliseconds(1 + i), start + milliseconds(1 + i), i);
  }
  const auto json = nlohmann::json::parse(tracer.to_json());
  const auto spans = events_of(tracer, "X");
  EXPECT_LE(spans.size(), 100);
  EXPECT_GE(spans.size(), 50);
  EXPECT_EQ(json["otherData"]["dropped_events"].get<size_t>() + spans.size(), 1050);
  for (size_t i = 0; i < spans.size(); ++i) {
    EXPECT_EQ(spans[i]["args"]["step"], 1000 - spans.size() + i);  // the newest, without a gap
  }
}

TEST(Trace, two_tracers_in_one_thread_do_not_mix) {
  Tracer first;
  first.counter("first", 1);
  {
    Tracer second;
    second.counter("second", 1);
    first.counter("first", 2);
    second.counter("second", 2);
    EXPECT_EQ(events_of(second, "C").size(), 2);
  }
  Tracer third;  // may have the address of the second
  third.counter("third", 1);
  EXPECT_EQ(events_of(first, "C").size(), 2);
  EXPECT_EQ(events_of(third, "C").size(), 1);
}

TEST(Trace, may_be_written_while_threads_record) {
  Tracer tracer(1000);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        const Span span(&tracer, "work");
        tracer.counter("n", 1);
      }
    });
  }
  size_t written = 0;
  while (written < 20 ||
         nlohmann::json::parse(tracer.to_json())["otherData"]["dropped_events"] == 0) {
    EXPECT_TRUE(nlohmann::json::accept(tracer.to_json()));
    ++written;
  }
}

}  // namespace
}  // namespace atl::trace
