#include "job/merged_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace atl::job {
namespace {

constexpr std::string_view kEraseLine = "\r\x1b[K";
constexpr size_t kMostDrawnBytes = 4096;
constexpr size_t kTailLines = 20;
constexpr size_t kTailLineBytes = 1000;

size_t index_of(MergedOutput::Stream stream) { return static_cast<size_t>(stream); }

}  // namespace

void LineSplitter::emit(const Line& line) {
  std::string_view text = rest_;
  if (!redraws_) {
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (const size_t back = text.rfind('\r'); back != std::string_view::npos) {
      text.remove_prefix(back + 1);
    }
    if (text.starts_with("\x1b[K")) text.remove_prefix(3);
  }
  line(text);
  rest_.clear();
}

void LineSplitter::add(std::string_view bytes, const Line& line) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const size_t wanted = std::min(end, kMaxLineBytes - std::min(rest_.size(), kMaxLineBytes));
    const std::string_view piece = bytes.substr(0, wanted);
    rest_ += piece;
    bytes.remove_prefix(piece.size());
    if (bytes.starts_with('\n')) {
      bytes.remove_prefix(1);
      emit(line);
    } else if (rest_.size() >= kMaxLineBytes) {
      // A bar that never ends its line takes no more room than its last state.
      const size_t back = redraws_ ? std::string::npos : rest_.rfind('\r', rest_.size() - 2);
      if (back == std::string::npos || back == 0) {
        emit(line);
      } else {
        rest_.erase(0, back);
      }
    }
  }
}

void LineSplitter::finish(const Line& line) {
  if (!rest_.empty()) emit(line);
}

MergedOutput::MergedOutput(int out, int err)
    : fds_{out, err}, out_is_terminal_(::isatty(out) == 1), err_is_terminal_(::isatty(err) == 1) {
  // A terminal may say that it takes something, and then wait within a write for the rest of it.
  for (const Stream stream : {Stream::kOut, Stream::kErr}) {
    const size_t i = index_of(stream);
    if (::isatty(fds_[i]) != 1) continue;
    const std::string name = fmt::format("/proc/self/fd/{}", fds_[i]);
    reopened_[i] = UniqueFd(::open(name.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  }
}

ssize_t MergedOutput::write_now(Stream stream, std::string_view bytes) const {
  const size_t i = index_of(stream);
  const int fd = reopened_[i] ? reopened_[i].get() : fds_[i];
  pollfd ready{fd, POLLOUT, 0};
  if (::poll(&ready, 1, 0) == 0) return 0;
  // What is ready takes at least this much without waiting (pipe(7)).
  const ssize_t written = ::write(fd, bytes.data(), std::min<size_t>(bytes.size(), PIPE_BUF));
  return written < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : written;
}

void MergedOutput::flush() {
  while (!left_.empty()) {
    auto& [stream, bytes] = left_.front();
    bool& given_up = given_up_[index_of(stream)];
    while (!bytes.empty() && !given_up) {
      const ssize_t written = write_now(stream, bytes);
      if (written == 0) return;
      if (written < 0) {
        given_up = true;
        error_ = errno;
        break;
      }
      bytes.erase(0, static_cast<size_t>(written));
      left_bytes_ -= static_cast<size_t>(written);
    }
    left_bytes_ -= bytes.size();
    left_.pop_front();
  }
}

int MergedOutput::waits_for() const {
  if (left_.empty()) return -1;
  const size_t i = index_of(left_.front().first);
  return reopened_[i] ? reopened_[i].get() : fds_[i];
}

void MergedOutput::write(Stream stream, std::string_view bytes) {
  if (bytes.empty() || given_up_[index_of(stream)]) return;
  left_.emplace_back(stream, bytes);
  left_bytes_ += bytes.size();
  flush();
}

void MergedOutput::line(Stream stream, int rank, std::string_view text) {
  ++lines_;
  std::string whole = rank == 0 ? std::string{} : fmt::format("[{}] ", rank);
  whole += text;
  whole += '\n';
  const bool above = !drawn_.empty() && (stream == Stream::kErr || out_is_terminal_);
  if (above) write(Stream::kErr, kEraseLine);
  write(stream, whole);
  if (above) write(Stream::kErr, drawn_);
}

void MergedOutput::draw(std::string_view bytes) {
  write(Stream::kErr, bytes);
  drawn_ += bytes;
  if (const size_t end = drawn_.rfind('\n'); end != std::string::npos) {
    ++lines_;
    drawn_.erase(0, end + 1);
  }
  if (const size_t back = drawn_.rfind('\r'); back != std::string::npos) drawn_.erase(0, back);
  if (drawn_ == kEraseLine) drawn_.clear();
  // Longer than a line of any terminal: no drawing that could be put back.
  if (drawn_.size() > kMostDrawnBytes) drawn_.clear();
}

void MergedOutput::say(std::string_view text) {
  if (!drawn_.empty()) write(Stream::kErr, "\n");
  drawn_.clear();
  write(Stream::kErr, text);
  write(Stream::kErr, "\n");
}

void Tail::add(std::string_view line, uint64_t number) {
  if (line.empty()) return;
  lines_.emplace_back(line.substr(0, kTailLineBytes));
  if (lines_.size() > kTailLines) lines_.pop_front();
  last_number_ = number;
}

}  // namespace atl::job
