#include "cli/progress_bar.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/bytes.h"
#include "job/place.h"

namespace atl::cli {
namespace {

constexpr auto kRedrawEvery = std::chrono::milliseconds(100);
constexpr auto kLineEvery = std::chrono::seconds(10);
constexpr int kLongestBar = 30;
constexpr int kShortestBar = 8;  // below that it says nothing
constexpr int kLogWidth = 160;   // room for everything: SageMaker reads its metrics there
constexpr std::string_view kEraseLine = "\r\x1b[K";

double share_done(const train::Progress& progress) {
  if (progress.total <= 0) return 0;
  const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  return std::clamp(share, 0.0, 1.0);
}

std::string drawn_bar(double share, int columns) {
  const auto inside = static_cast<size_t>(columns - 2);
  const auto full = static_cast<size_t>(share * static_cast<double>(inside));
  std::string bar(inside, ' ');
  bar.replace(0, full, full, '=');
  if (full < inside) bar[full] = '>';
  return fmt::format("[{}]", bar);
}

// Behind the bar, the most important first.
std::vector<std::string> details(const train::Progress& progress) {
  std::vector<std::string> parts;
  if (progress.done < progress.total && progress.seconds_left > 0) {
    parts.push_back(format_duration(std::chrono::duration<double>(progress.seconds_left)) +
                    " left");
  }
  if (progress.loss != 0) parts.push_back(fmt::format("loss {:.4g}", progress.loss));
  if (progress.images_per_s > 0) {
    parts.push_back(fmt::format("{:.1f} images/s", progress.images_per_s));
  }
  if (progress.data_wait_share > 0) {
    parts.push_back(fmt::format("data wait {:.0f} %", 100 * progress.data_wait_share));
  }
  if (progress.learning_rate > 0) {
    parts.push_back(fmt::format("learning rate {:.4g}", progress.learning_rate));
  }
  return parts;
}

}  // namespace

std::string progress_text(const train::Progress& progress, int width) {
  const double share = share_done(progress);
  // Not 100 % before it is done.
  const int percent = static_cast<int>(std::floor(100 * share));
  const auto columns = static_cast<size_t>(std::max(width, 0));
  std::string text =
      fmt::format("{} {:3d} % {}/{}", progress.phase, percent, progress.done, progress.total);
  // A number that is cut off is another number.
  if (text.size() > columns) text = fmt::format("{} {:3d} %", progress.phase, percent);
  if (text.size() > columns) text = fmt::format("{} %", percent);
  if (text.size() > columns) return "";
  std::string behind;
  for (const std::string& part : details(progress)) {
    const std::string longer = fmt::format("{}{}{}", behind, behind.empty() ? " " : ", ", part);
    if (text.size() + longer.size() > columns) break;
    behind = longer;
  }
  const int room = width - static_cast<int>(text.size() + behind.size()) - 1;
  if (room >= kShortestBar) {
    text += fmt::format(" {}", drawn_bar(share, std::min(room, kLongestBar)));
  }
  return text + behind;
}

ProgressBar::ProgressBar(Output output) : output_(std::move(output)) {}

void ProgressBar::draw(const train::Progress& progress) {
  if (output_.terminal) {
    // The last column stays empty: some terminals wrap when it is written.
    const std::string text = progress_text(progress, output_.width() - 1);
    output_.write_bar(fmt::format("{}{}", kEraseLine, text));
    on_screen_ = true;
  } else {
    output_.write_bar(progress_text(progress, kLogWidth) + "\n");
  }
  drawn_at_ = output_.now();
  pending_ = false;
}

void ProgressBar::leave() {
  if (last_ && pending_) draw(*last_);
  if (on_screen_) output_.write_bar("\n");
  on_screen_ = false;
  pending_ = false;
  last_.reset();
  drawn_at_.reset();
}

void ProgressBar::update(const train::Progress& progress) {
  const std::lock_guard lock(mutex_);
  if (last_ && std::string_view(last_->phase) != progress.phase) leave();
  const bool again = last_ && !pending_ && last_->done == progress.done;
  last_ = progress;
  pending_ = !again;
  const auto wait = output_.terminal ? Clock::duration(kRedrawEvery) : kLineEvery;
  const bool due = !drawn_at_ || output_.now() - *drawn_at_ >= wait;
  const bool done = progress.total > 0 && progress.done >= progress.total;
  // The end may be reported twice; in a log once is enough.
  if (due || (done && !again)) draw(progress);
}

void ProgressBar::line(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (on_screen_) output_.write_bar(kEraseLine);
  output_.write_line(fmt::format("{}\n", text));
  if (on_screen_) draw(*last_);
}

void ProgressBar::finish() {
  const std::lock_guard lock(mutex_);
  leave();
}

train::Console ProgressBar::console() {
  return {[this](const std::string& text) { line(text); },
          [this](const train::Progress& progress) { update(progress); }};
}

ProgressBar ProgressBar::on_standard_streams() {
  Output output;
  output.write_line = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);  // before the bar below it, and for whoever follows a log
  };
  output.write_bar = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
  };
  // A job has one bar, and rank 0 draws it.
  if (job::launched_rank(job::this_machine()).value_or(0) != 0) {
    output.write_bar = [](std::string_view) {};
  }
  output.terminal = ::isatty(STDERR_FILENO) == 1;
  output.width = [] {
    winsize size{};
    const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? static_cast<int>(size.ws_col) : 80;
  };
  return ProgressBar(std::move(output));
}

}  // namespace atl::cli
