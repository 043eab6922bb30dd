// How far a job is: on a terminal one line that is redrawn at most ten times a second and fits its
// width, elsewhere (a log file, a job's output) a plain line every ten seconds.
//
//   train  40% 160/400 [=========>          ] loss 1.234, 41.5 images/s, data 3 %, 2 min 5 s left
//
// Lines for people go through line(), which keeps the bar below them. Thread safe.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "train/train.h"

namespace atl::cli {

class ProgressBar {
 public:
  using Clock = std::chrono::steady_clock;

  struct Output {
    std::function<void(std::string_view)> write_line;  // complete lines for people
    std::function<void(std::string_view)> write_bar;   // the bar: with control characters
    bool terminal = false;                             // of write_bar
    std::function<int()> width = [] { return 80; };    // in columns, asked for each drawing
    std::function<Clock::time_point()> now = Clock::now;
  };

  explicit ProgressBar(Output output);
  // Lines to standard output, the bar to standard error.
  static ProgressBar on_standard_streams();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar() { finish(); }

  void update(const train::Progress& progress);
  void line(std::string_view text);
  // Draws the last state and leaves the line.
  void finish();

  // What the jobs of train/ talk to; this must outlive it.
  train::Console console();

 private:
  // With the mutex held.
  void draw(const train::Progress& progress);
  void leave();

  const Output output_;
  std::mutex mutex_;
  std::optional<train::Progress> last_;
  std::optional<Clock::time_point> drawn_at_;
  bool pending_ = false;    // last_ has not been drawn
  bool on_screen_ = false;  // the cursor stands behind a bar
};

// The bar in at most `width` columns: what does not fit is left out, the least important first.
std::string progress_text(const train::Progress& progress, int width);

}  // namespace atl::cli
