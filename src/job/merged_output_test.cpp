#include "job/merged_output.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <array>

#include "base/unique_fd.h"

namespace atl::job {
namespace {

using Stream = MergedOutput::Stream;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> split(bool redraws, const std::vector<std::string>& pieces) {
  LineSplitter splitter(redraws);
  std::vector<std::string> lines;
  const auto line = [&](std::string_view text) { lines.emplace_back(text); };
  for (const std::string& piece : pieces) splitter.add(piece, line);
  splitter.finish(line);
  return lines;
}

TEST(LineSplitter, lines_are_whole_however_they_arrive) {
  EXPECT_THAT(split(false, {"a\nb", "c\n", "\n", "d"}), ElementsAre("a", "bc", "", "d"));
  EXPECT_THAT(split(false, {}), ElementsAre());
  EXPECT_THAT(split(false, {std::string("a\0b\n", 4)}), ElementsAre(std::string("a\0b", 3)));
}

TEST(LineSplitter, of_a_line_that_is_redrawn_the_last_state_is_left) {
  EXPECT_THAT(split(false, {"\r\x1b[K1 %", "\r\x1b[K2 %\nend\r\n"}), ElementsAre("2 %", "end"));
  EXPECT_THAT(split(true, {"\r1 %\r2 %\n"}), ElementsAre("\r1 %\r2 %"));
}

TEST(LineSplitter, a_line_without_end_is_broken_and_loses_nothing) {
  const std::string text(2 * kMaxLineBytes + 3, 'x');
  const auto lines = split(false, {text.substr(0, 100), text.substr(100)});
  ASSERT_EQ(lines.size(), 3);
  EXPECT_EQ(lines[0].size(), kMaxLineBytes);
  EXPECT_EQ(lines[0] + lines[1] + lines[2], text);
}

TEST(LineSplitter, a_bar_that_never_ends_its_line_takes_no_room) {
  LineSplitter splitter(false);
  std::vector<std::string> lines;
  const auto line = [&](std::string_view text) { lines.emplace_back(text); };
  for (int i = 0; i < 100'000; ++i) splitter.add("\r" + std::to_string(i) + " images", line);
  splitter.finish(line);
  EXPECT_THAT(lines, ElementsAre("99999 images"));
}

TEST(Tail, the_last_twenty_lines_are_kept) {
  Tail tail;
  for (int i = 0; i < 30; ++i) tail.add(std::to_string(i), static_cast<uint64_t>(i));
  tail.add("", 31);
  EXPECT_EQ(tail.lines().size(), 20);
  EXPECT_EQ(tail.lines().front(), "10");
  EXPECT_EQ(tail.last_number(), 29);
  tail.add(std::string(100'000, 'x'), 32);
  EXPECT_EQ(tail.lines().back().size(), 1000);
}

// A terminal, and what it has been sent.
class Terminal {
 public:
  Terminal() : master_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    EXPECT_EQ(::grantpt(master_.get()), 0);
    EXPECT_EQ(::unlockpt(master_.get()), 0);
    slave_ = UniqueFd(::open(::ptsname(master_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios settings{};
    ::tcgetattr(slave_.get(), &settings);
    ::cfmakeraw(&settings);
    ::tcsetattr(slave_.get(), TCSANOW, &settings);
  }
  int fd() const { return slave_.get(); }
  // Since the last call. A terminal hands its bytes over in its own time, so a mark is sent behind them and waited for.
  std::string sent() const {
    constexpr char kMark = '\x04';
    EXPECT_EQ(::write(slave_.get(), &kMark, 1), 1);
    std::string bytes;
    while (!bytes.ends_with(kMark)) {
      std::array<char, 4096> piece{};
      const ssize_t got = ::read(master_.get(), piece.data(), piece.size());
      if (got <= 0) break;
      bytes.append(piece.data(), static_cast<size_t>(got));
    }
    if (bytes.ends_with(kMark)) bytes.pop_back();
    return bytes;
  }

 private:
  UniqueFd master_;
  UniqueFd slave_;
};

TEST(MergedOutput, lines_of_others_stand_above_what_rank_0_has_drawn) {
  const Terminal terminal;
  MergedOutput output(terminal.fd(), terminal.fd());
  ASSERT_TRUE(output.terminal());
  output.draw("\r\x1b[Ktrain 40 %");
  EXPECT_EQ(terminal.sent(), "\r\x1b[Ktrain 40 %");
  output.line(Stream::kOut, 3, "hello");
  EXPECT_EQ(terminal.sent(), "\r\x1b[K[3] hello\n\r\x1b[Ktrain 40 %");
  output.line(Stream::kOut, 0, "step 7");
  EXPECT_EQ(terminal.sent(), "\r\x1b[Kstep 7\n\r\x1b[Ktrain 40 %");
  output.draw("\r\x1b[Ktrain 50 %\n");
  EXPECT_EQ(terminal.sent(), "\r\x1b[Ktrain 50 %\n");
  output.line(Stream::kErr, 3, "hello");
  EXPECT_EQ(terminal.sent(), "[3] hello\n");
}

TEST(MergedOutput, an_erased_bar_is_not_put_back) {
  const Terminal terminal;
  MergedOutput output(terminal.fd(), terminal.fd());
  output.draw("\r\x1b[Ktrain 40 %");
  output.draw("\r\x1b[K");
  terminal.sent();
  output.line(Stream::kOut, 1, "x");
  EXPECT_EQ(terminal.sent(), "[1] x\n");
}

TEST(MergedOutput, what_we_say_ends_the_bar) {
  const Terminal terminal;
  MergedOutput output(terminal.fd(), terminal.fd());
  output.draw("train 40 %");
  terminal.sent();
  output.say("atoll: stopping");
  EXPECT_EQ(terminal.sent(), "\natoll: stopping\n");
}

TEST(MergedOutput, what_a_stalled_reader_does_not_take_is_kept_in_its_order) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  MergedOutput output(writer.get(), writer.get());
  std::string wanted;
  EXPECT_EQ(output.waits_for(), -1);
  for (int i = 0; !output.full(); ++i) {
    const std::string text = std::to_string(i) + std::string(1000, '.');
    output.line(i % 2 == 0 ? Stream::kOut : Stream::kErr, 0, text);
    wanted += text + "\n";
  }
  EXPECT_EQ(output.waits_for(), writer.get());
  std::string got;
  std::array<char, 1 << 15> piece;
  while (got.size() < wanted.size()) {
    const ssize_t count = ::read(reader.get(), piece.data(), piece.size());
    ASSERT_GT(count, 0);
    got.append(piece.data(), static_cast<size_t>(count));
    output.flush();
  }
  EXPECT_EQ(got, wanted);
  EXPECT_EQ(output.waits_for(), -1);
  EXPECT_EQ(output.error(), 0);
}

}  // namespace
}  // namespace atl::job
