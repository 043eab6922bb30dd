// Who leads the hosts of a job, when any of them may die: whoever holds the newest lease in a place that all share
// and that outlives each of them (storage/shared_records.h).
//
//   - Terms count up. The leader of term t is who has created the record of t; a record is created once.
//   - The leader renews its record, which only it writes. Who sees it unchanged for `expiry` may create that of t + 1.
//     Nobody's clock is compared with another's.
//   - A leader that has not managed to renew for three quarters of `expiry`, or sees a later term, leads no more. It
//     knows that before anybody else can have become the leader.
//   - One that leaves well says so in its record, and nobody waits.
//
// Lease is these steps, one after the other, for one thread; LeaseKeeper takes them in time, in a thread of its own,
// because a bucket may let one wait.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"
#include "job/lease_record.h"
#include "storage/shared_records.h"

namespace atl::job {

using AgentClock = std::chrono::steady_clock;
using AgentTime = AgentClock::time_point;

struct LeaseView {
  bool known = false;                 // whether the place has been read at all
  uint64_t term = 0;                  // 0: nobody has ever led
  std::optional<LeaseRecord> leader;  // of that term; nullopt: something that is no lease
  AgentTime changed{};                // when that was last seen to change
  bool held = false;                  // by us
  AgentTime renewed{};                // when the last renewal that succeeded was begun
  std::optional<Error> error;         // of the last step

  // Somebody may have it now.
  bool vacant(AgentTime now, std::chrono::milliseconds expiry) const;
  // We lead, and nobody else can.
  bool leads(AgentTime now, std::chrono::milliseconds expiry) const;
};

class Lease {
 public:
  using Now = std::function<AgentTime()>;

  // `self` but for its beat.
  Lease(storage::SharedRecords& records, LeaseRecord self, Now now = AgentClock::now);

  // What lies there now.
  void look();
  // take(), where a look shows that the lease is still vacant: somebody may have taken or renewed it meanwhile.
  void take_if_vacant(std::chrono::milliseconds expiry);
  // Creates the term after the one last seen. Another may be faster: then that is what is seen.
  void take();
  // Of one that is held.
  void renew();
  void resign();
  const LeaseView& view() const { return view_; }

 private:
  Result<void> look_for_leader();
  Result<void> create_next();
  Result<void> write_renewal();
  Result<uint64_t> newest_term();
  void note(const Result<void>& result);

  storage::SharedRecords& records_;
  LeaseRecord self_;
  const Now now_;
  LeaseView view_;
  std::string seen_;  // the text of the leader's record
};

class LeaseKeeper {
 public:
  // A lease that is not renewed for `expiry` is vacant; a step is taken every sixth of it. `changed` is called after every
  // step, in the keeper's thread.
  LeaseKeeper(std::unique_ptr<storage::SharedRecords> records,
              LeaseRecord self,
              std::chrono::milliseconds expiry,
              std::function<void()> changed);
  // Resigns, if it leads. May wait for a bucket.
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  LeaseView view() const;
  void take();    // soon
  void resign();  // soon; and takes nothing any more until take()
  // Who is connected to the leader need not look at the place; whoever looks again knows nothing at first.
  void rest();
  void watch();

 private:
  enum class Wish { kNone, kTake, kResign, kLook };
  void run();

  const std::unique_ptr<storage::SharedRecords> records_;
  const std::chrono::milliseconds expiry_;
  const std::function<void()> changed_;
  Lease lease_;               // of the thread alone
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable woken_;
  LeaseView view_;
  Wish wish_ = Wish::kNone;
  bool resting_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace atl::job
