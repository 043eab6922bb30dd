// Who is still there. A thread of each rank tells the store twice a second how far its rank is, and looks
// whether any rank is in trouble. The rank that meets trouble first says so there and cuts its
// connections; the others' threads see it within half a second, answer, and cut theirs, so that no
// collective anywhere goes on waiting. Who does not answer is lost. What is a reason stands in the store
// before the trouble does, so whoever sees that sees the reason, and all ranks give the same one.
//
//   progress/R   "BEAT COUNT NAME": collectives that rank R has entered, and the last one's name
//   failed       the first rank that ended by an error of its own: rank, code, message, hint
//   timed_out    the collective in which a rank has waited for too long
//   silent       "R R …": ranks that rank 0 has heard nothing from for too long
//   trouble      set by whoever finds some
//   answer/R     rank R has seen the trouble; its progress at that time
//   left/R       rank R needs the store no more
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <vector>

#include "base/error.h"

namespace atl::parallel {

struct WatchOptions {
  int rank = 0;
  std::vector<std::string> hosts;  // by rank
  std::chrono::milliseconds silence;
  std::chrono::milliseconds hearing;
};

// Thread safe.
class Watch {
 public:
  // `store` is this object's alone. `cut` makes collectives that wait fail; it is called once, from any
  // thread.
  Watch(c10::intrusive_ptr<c10d::Store> store, WatchOptions options, std::function<void()> cut);
  ~Watch();  // stops the thread

  // A collective begins.
  void entering(std::string_view name);
  // Until the work is done. Throws what it failed with, or that the connections were cut meanwhile: cutting
  // wakes the ranks at the other ends, but not what waits here for one that does not answer. Such work is
  // never done, and neither is its backend's destructor: see abandoned().
  void wait(c10d::Work& work);
  // Called when the connections are cut, at once where they are. One at a time; an empty one takes it back.
  void on_cut(const std::function<void()>& handler);
  bool cut_off() const;
  bool abandoned() const;
  void abandon();
  // The collective `name` has failed, as `what` says. Hears what the others have to say, for
  // WatchOptions::hearing at most, and says why. The first call decides; later ones get the same answer.
  Error explain(std::string_view name, std::string_view what, bool timed_out);
  // This rank ends by an error of its own, which becomes the others' answer. Nothing after explain().
  void report(const Error& error);
  std::optional<Error> failure() const;
  // This rank is done: waits until the others are, too, if `wait`, for a second longer than they may hear.
  void leave(bool wait);

 private:
  struct State;
  static void run(const std::shared_ptr<State>& state);
  static void guard(State& state);

  // The first thread alone talks to the store, for the rank's own threads, too. It may hang there, where rank 0's
  // machine is down or cut off: the second sees that it has come back from it too long ago. Then the first is
  // left behind with its state, and nobody waits for it.
  std::shared_ptr<State> state_;
  std::thread thread_;
  std::thread guard_;
};

}  // namespace atl::parallel
