#include "delay_line.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace atl::fault_proxy {
namespace {

using std::chrono::milliseconds;
constexpr Clock::time_point kStart{std::chrono::hours(1)};

// Takes what is due, as text.
std::string take(DelayLine& line, Clock::time_point now) {
  std::string text;
  while (Piece* piece = line.due(now)) {
    text += piece->bytes();
    line.sent(piece->bytes().size());
  }
  return text;
}

TEST(DelayLine, a_piece_comes_out_after_the_latency) {
  DelayLine line(milliseconds(10));
  line.push(make_piece("ab"), kStart);
  EXPECT_EQ(take(line, kStart + milliseconds(9)), "");
  EXPECT_EQ(take(line, kStart + milliseconds(10)), "ab");
  EXPECT_TRUE(line.empty());
}

TEST(DelayLine, latency_delays_a_stream_without_slowing_it) {
  DelayLine line(milliseconds(10));
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(line.has_room(kStart + milliseconds(i)));
    line.push(make_piece("x"), kStart + milliseconds(i));
  }
  EXPECT_EQ(take(line, kStart + milliseconds(109)).size(), 100);
}

TEST(DelayLine, a_trickle_comes_byte_by_byte) {
  DelayLine line(milliseconds(0));
  line.trickle(10);
  line.push(make_piece("a"), kStart);
  line.push(make_piece("b"), kStart);
  // Counted from what came before, which is nothing: at once, and then a byte each 100 ms.
  EXPECT_EQ(take(line, kStart + milliseconds(100)), "a");
  EXPECT_EQ(take(line, kStart + milliseconds(199)), "");
  EXPECT_EQ(take(line, kStart + milliseconds(200)), "b");
}

TEST(DelayLine, nothing_overtakes_what_is_held) {
  DelayLine line(milliseconds(0));
  line.hold(milliseconds(30));
  line.push(make_piece("a"), kStart);
  EXPECT_EQ(take(line, kStart + milliseconds(29)), "");
  EXPECT_FALSE(DelayLine(milliseconds(0)).due(kStart));
  EXPECT_EQ(take(line, kStart + milliseconds(30)), "a");
}

TEST(DelayLine, what_is_held_delays_a_stream_without_slowing_it) {
  DelayLine line(milliseconds(0));
  line.hold(std::chrono::seconds(1));
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(line.has_room(kStart + milliseconds(i))) << i;
    line.push(make_piece("x"), kStart + milliseconds(i));
  }
  EXPECT_EQ(take(line, kStart + milliseconds(1099)).size(), 100);
}

TEST(DelayLine, what_a_slow_wire_has_not_taken_stays_with_the_sender) {
  Wire wire;
  DelayLine line(milliseconds(10));
  size_t taken = 0;
  while (line.has_room(kStart)) {
    line.push(make_piece(std::string(1000, 'x')), wire.admit(1000, 100'000, kStart));
    taken += 1000;
  }
  EXPECT_EQ(taken, 6000);  // 50 ms of 100 kB/s, and what passed the mark
}

TEST(Wire, all_connections_share_its_bandwidth) {
  Wire wire;
  EXPECT_EQ(wire.admit(1000, 1'000'000, kStart), kStart + milliseconds(1));
  EXPECT_EQ(wire.admit(1000, 1'000'000, kStart), kStart + milliseconds(2));
  EXPECT_EQ(wire.admit(1000, 1'000'000, kStart + milliseconds(5)), kStart + milliseconds(6));
  EXPECT_EQ(wire.admit(1000, 0, kStart), kStart);
}

}  // namespace
}  // namespace atl::fault_proxy
