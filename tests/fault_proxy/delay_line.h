// Bytes on their way in one direction: each piece is delivered when its time has come, so that latency delays
// without slowing the stream down. Faults are pieces without bytes that end the connection.
//
// Times are handed in, so the rules can be tested without waiting. Not thread safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

namespace atl::fault_proxy {

using Clock = std::chrono::steady_clock;

enum class Ending { kNone, kClose, kReset };

struct Piece {
  std::unique_ptr<char[]> storage;
  size_t begin = 0, end = 0;
  Clock::time_point due;
  Ending ending = Ending::kNone;

  std::string_view bytes() const { return {storage.get() + begin, end - begin}; }
};
Piece make_piece(std::string_view bytes);

// A wire of limited bandwidth that all connections share. Thread safe.
class Wire {
 public:
  // When the last of these bytes leaves it.
  Clock::time_point admit(size_t bytes, uint64_t bytes_per_s, Clock::time_point now) {
    if (bytes_per_s == 0) return now;
    const std::scoped_lock lock(mutex_);
    free_at_ = std::max(free_at_, now) + std::chrono::nanoseconds(static_cast<int64_t>(
                                             bytes * 1e9 / static_cast<double>(bytes_per_s)));
    return free_at_;
  }

 private:
  std::mutex mutex_;
  Clock::time_point free_at_;
};

class DelayLine {
 public:
  explicit DelayLine(std::chrono::microseconds latency) : latency_(latency) {}

  // From now on everything comes so much later.
  void hold(Clock::duration more) { held_ += more; }
  // From now on so slowly; 0: as it comes.
  void trickle(uint64_t bytes_per_s) { trickle_ = bytes_per_s; }
  bool trickles() const { return trickle_ > 0; }
  bool held() const { return held_.count() > 0; }

  // `left`: when it left the wire.
  void push(Piece piece, Clock::time_point left) {
    piece.due = left + latency_ + held_;
    if (trickle_ > 0) {
      const auto spread =
          std::chrono::nanoseconds(1'000'000'000 * (piece.end - piece.begin) / trickle_);
      piece.due = std::max(piece.due, last_due_) + spread;
    }
    last_due_ = piece.due = std::max(piece.due, last_due_);
    bytes_ += piece.end - piece.begin;
    pieces_.push_back(std::move(piece));
  }

  // Whether more should be read: little enough is waiting, and it leaves soon. What a slow wire has not taken
  // yet stays with the sender.
  bool has_room(Clock::time_point now) const {
    return pieces_.empty() ||
           (bytes_ < kMaxBytes && last_due_ <= now + latency_ + held_ + kMaxQueue);
  }
  bool empty() const { return pieces_.empty(); }
  std::optional<Clock::time_point> next_due() const {
    if (pieces_.empty()) return std::nullopt;
    return pieces_.front().due;
  }
  // The first piece, where its time has come.
  Piece* due(Clock::time_point now) {
    return pieces_.empty() || pieces_.front().due > now ? nullptr : &pieces_.front();
  }
  // So many bytes of the first piece have gone out; a finished one goes.
  void sent(size_t bytes) {
    Piece& piece = pieces_.front();
    piece.begin += bytes;
    bytes_ -= bytes;
    if (piece.begin == piece.end) pieces_.pop_front();
  }

 private:
  static constexpr size_t kMaxBytes = size_t{64} << 20;
  static constexpr std::chrono::milliseconds kMaxQueue{50};

  std::chrono::microseconds latency_;
  Clock::duration held_{0};
  uint64_t trickle_ = 0;
  Clock::time_point last_due_;
  size_t bytes_ = 0;
  std::deque<Piece> pieces_;
};

}  // namespace atl::fault_proxy
