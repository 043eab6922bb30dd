// What the ranks of a host write, as one stream of whole lines.
//
// Rank 0 of the job speaks for it: its lines stand as they are, so that a job prints what a single process would.
// Lines of another rank R begin with "[R] ". Where standard error is a terminal, rank 0 draws on it (its progress bar), and
// lines of others are put above what it has drawn.
//
// Nothing here waits for a reader that stalls (a stopped terminal, a full pipe): what cannot be written yet is kept, in
// its order, and written with flush(). Not thread safe.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/unique_fd.h"

namespace atl::job {

constexpr size_t kMaxLineBytes = 1 << 16;  // longer ones are broken

// Pieces of bytes in, whole lines out.
class LineSplitter {
 public:
  // `redraws`: whether a carriage return stays what it is. Otherwise what it would overwrite on a terminal is left
  // out: of a bar that was redrawn a hundred times its last state is a line.
  explicit LineSplitter(bool redraws) : redraws_(redraws) {}

  using Line = std::function<void(std::string_view line)>;  // without its end
  void add(std::string_view bytes, const Line& line);
  void finish(const Line& line);  // what no newline ended

 private:
  void emit(const Line& line);

  const bool redraws_;
  std::string rest_;
};

class MergedOutput {
 public:
  enum class Stream { kOut, kErr };

  // Descriptors that stay open; errors of writing are kept (error()), and the stream is given up: a log that is
  // full, or has lost its reader, stops no training.
  MergedOutput(int out, int err);

  // Of rank 0: no prefix.
  void line(Stream stream, int rank, std::string_view text);
  // Bytes of rank 0 for the terminal that standard error is, with its control characters.
  void draw(std::string_view bytes);
  // Ours, to standard error, above nothing: an unfinished drawing is ended first.
  void say(std::string_view text);

  // Writes what is left, as far as it goes.
  void flush();
  // The descriptor that what is left waits for; -1: nothing is left.
  int waits_for() const;
  // So much is left that the ranks should wait, too: read no more from them.
  bool full() const { return left_bytes_ > kMostLeftBytes; }

  bool terminal() const { return err_is_terminal_; }
  int error() const { return error_; }       // errno; 0: none
  uint64_t lines() const { return lines_; }  // so far, of all

 private:
  static constexpr size_t kMostLeftBytes = 1 << 20;

  void write(Stream stream, std::string_view bytes);
  // As write(2), but 0 where it would wait; -1 with errno.
  ssize_t write_now(Stream stream, std::string_view bytes) const;

  int fds_[2];
  UniqueFd reopened_[2];  // of a terminal, so that only our own writing does not wait
  bool given_up_[2] = {false, false};
  const bool out_is_terminal_;
  const bool err_is_terminal_;
  std::deque<std::pair<Stream, std::string>> left_;
  size_t left_bytes_ = 0;
  std::string drawn_;  // by draw(), since the last newline and the last carriage return
  int error_ = 0;
  uint64_t lines_ = 0;
};

// The last lines of a rank's standard error.
class Tail {
 public:
  void add(std::string_view line, uint64_t number);
  const std::deque<std::string>& lines() const { return lines_; }
  uint64_t last_number() const {
    return last_number_;
  }  // MergedOutput::lines() behind the last one

 private:
  std::deque<std::string> lines_;
  uint64_t last_number_ = 0;
};

}  // namespace atl::job
