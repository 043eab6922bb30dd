#include "cli/progress_bar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "sagemaker/metric_definitions.h"

namespace atl::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

train::Progress at(int64_t done, int64_t total = 400, const char* phase = "train") {
  return {phase, done, total, 41.53, 0.034, 1.23456, 125};
}

// What a bar writes, and a clock that moves when it is told to.
class Screen {
 public:
  ProgressBar::Output output(bool terminal, int width = 120) {
    return {[this](std::string_view text) { written.emplace_back(text); },
            [this](std::string_view text) { written.emplace_back(text); },
            terminal,
            [width] { return width; },
            [this] { return now; }};
  }
  std::vector<std::string> written;
  ProgressBar::Clock::time_point now{};
};

TEST(ProgressText, tells_everything_where_there_is_room) {
  EXPECT_EQ(progress_text(at(160), 120),
            "train  40 % 160/400 [===========>                ] "
            "2 min 5 s left, loss 1.235, 41.5 images/s, data wait 3 %");
}

TEST(ProgressText, of_a_log_has_the_learning_rate_too) {
  train::Progress progress = at(160);
  progress.learning_rate = 0.00125;
  EXPECT_THAT(progress_text(progress, 160), EndsWith(", data wait 3 %, learning rate 0.00125"));
  Screen screen;
  ProgressBar bar(screen.output(false));
  progress.done = 160'000;
  progress.total = 1'800'000;
  progress.seconds_left = 400'000;
  bar.update(progress);
  EXPECT_THAT(screen.written.back(), EndsWith(", learning rate 0.00125\n"));
}

// A run that never waited for data says nothing about it, so that a run alone would not show it.
TEST(ProgressText, of_a_log_has_what_every_metric_of_training_looks_for) {
  train::Progress progress = at(160'000, 1'800'000);
  progress.seconds_left = 400'000;
  progress.learning_rate = 0.000025;
  Screen screen;
  ProgressBar bar(screen.output(false));
  bar.update(progress);
  const std::string line = screen.written.back();
  std::map<std::string, std::string> found;
  for (const auto& definition : sagemaker::metric_definitions()) {
    const std::string name = definition.name;
    std::smatch match;
    const bool is_there = std::regex_search(line, match, std::regex(definition.regex));
    if (is_there) found[name] = match[1];
    EXPECT_EQ(is_there, name.starts_with("train:")) << name << "\n" << line;
  }
  EXPECT_THAT(found,
              ElementsAre(Pair("train:data_wait_percent", "3"),
                          Pair("train:images_per_second", "41.5"),
                          Pair("train:learning_rate", "2.5e-05"),
                          Pair("train:loss", "1.235"),
                          Pair("train:step", "160000")));
}

TEST(ProgressText, is_never_wider_than_asked_and_keeps_the_most_important) {
  for (int width = 0; width < 140; ++width) {
    const std::string text = progress_text(at(160), width);
    EXPECT_LE(text.size(), static_cast<size_t>(width));
    EXPECT_THAT(text,
                StartsWith(width >= 19   ? "train  40 % 160/400"
                           : width >= 11 ? "train  40 %"
                           : width >= 4  ? "40 %"
                                         : ""));
    if (width < 28) {  // no bar yet
      EXPECT_THAT(text, EndsWith(width >= 19 ? "/400" : width >= 4 ? "%" : ""));
    }
    EXPECT_EQ(text.find("left") != std::string::npos, width >= 34) << text;
  }
  EXPECT_EQ(progress_text(at(160), 36), "train  40 % 160/400 2 min 5 s left");
  EXPECT_EQ(progress_text(at(160), -5), "");
}

TEST(ProgressText, the_bar_is_full_only_at_the_end) {
  EXPECT_THAT(progress_text(at(399), 100), HasSubstr(" 99 % 399/400 ["));
  EXPECT_THAT(progress_text(at(399), 100), HasSubstr(">]"));
  EXPECT_THAT(progress_text(at(400), 100), HasSubstr("100 % 400/400 ["));
  EXPECT_THAT(progress_text(at(400), 100), Not(HasSubstr(">")));
  EXPECT_THAT(progress_text(at(400), 100), Not(HasSubstr("left")));
  EXPECT_THAT(progress_text(at(0, 0), 100), StartsWith("train   0 % 0/0"));
  EXPECT_THAT(progress_text(at(7, 5), 100), StartsWith("train 100 % 7/5"));
}

TEST(ProgressText, leaves_out_what_is_not_known) {
  EXPECT_EQ(progress_text({"evaluate", 1, 2}, 40), "evaluate  50 % 1/2 [=========>         ]");
}

TEST(ProgressBar, a_terminal_is_redrawn_at_most_ten_times_a_second) {
  Screen screen;
  ProgressBar bar(screen.output(true));
  for (int step = 1; step <= 100; ++step) {
    bar.update(at(step));
    screen.now += milliseconds(20);
  }
  EXPECT_EQ(screen.written.size(), 20);
  for (const std::string& text : screen.written) EXPECT_THAT(text, StartsWith("\r\x1b[K"));
  EXPECT_THAT(screen.written.back(), HasSubstr(" 96/400"));
}

TEST(ProgressBar, the_last_state_is_always_drawn) {
  Screen screen;
  {
    ProgressBar bar(screen.output(true));
    bar.update(at(1));
    bar.update(at(2));
    bar.update(at(3));
  }
  ASSERT_EQ(screen.written.size(), 3);
  EXPECT_THAT(screen.written[1], HasSubstr(" 3/400"));
  EXPECT_EQ(screen.written[2], "\n");
}

TEST(ProgressBar, elsewhere_it_is_a_plain_line_every_ten_seconds_and_at_the_end) {
  Screen screen;
  ProgressBar bar(screen.output(false));
  for (int step = 1; step <= 400; ++step) {
    bar.update(at(step));
    screen.now += milliseconds(100);
  }
  bar.finish();
  ASSERT_EQ(screen.written.size(), 5);
  for (const std::string& text : screen.written) {
    EXPECT_THAT(text, EndsWith("\n"));
    EXPECT_EQ(text.find_first_of("\r\x1b"), std::string::npos);
  }
  EXPECT_THAT(screen.written[1], HasSubstr(" 101/400"));
  EXPECT_THAT(screen.written[4], HasSubstr("100 % 400/400"));
}

TEST(ProgressBar, an_end_that_is_reported_twice_is_one_line) {
  Screen screen;
  ProgressBar bar(screen.output(false));
  bar.update(at(399));
  bar.update(at(400));
  bar.update(at(400));
  bar.finish();
  EXPECT_EQ(screen.written.size(), 2);
}

TEST(ProgressBar, lines_push_the_bar_down) {
  Screen screen;
  ProgressBar bar(screen.output(true));
  bar.line("before");
  bar.update(at(1));
  bar.line("step 1 was slow");
  ASSERT_EQ(screen.written.size(), 5);
  EXPECT_EQ(screen.written[0], "before\n");
  EXPECT_EQ(screen.written[2], "\r\x1b[K");
  EXPECT_EQ(screen.written[3], "step 1 was slow\n");
  EXPECT_THAT(screen.written[4], HasSubstr(" 1/400"));
}

TEST(ProgressBar, a_new_phase_begins_a_new_line) {
  Screen screen;
  ProgressBar bar(screen.output(true));
  bar.update(at(400));
  bar.update(at(1, 200, "evaluate"));
  ASSERT_EQ(screen.written.size(), 3);
  EXPECT_EQ(screen.written[1], "\n");
  EXPECT_THAT(screen.written[2], HasSubstr("evaluate   0 % 1/200"));
}

TEST(ProgressBar, threads_do_not_mix_their_lines) {
  Screen screen;
  ProgressBar bar(screen.output(true));
  const auto console = bar.console();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 100; ++i) {
          console.progress(at(i));
          console.line("line");
        }
      });
    }
  }
  EXPECT_EQ(std::count(screen.written.begin(), screen.written.end(), "line\n"), 400);
}

}  // namespace
}  // namespace atl::cli
