// The giving end of a channel in Pipe mode (pipe.h has the taking one), for a job on this machine: FIFOs CHANNEL_0,
// CHANNEL_1 …, one for each epoch. Who opens one reads all files of a folder from it, one after the other in the order of
// their names, as SageMaker gives a channel's objects. The next epoch's FIFO is there before the end of one can be read; one
// that has been given is taken away, so that nobody waits for it again.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "job/order_queue.h"
#include "storage/local_store.h"

namespace atl::sagemaker {

// In a thread of its own. Used by one thread.
class PipeFeed {
 public:
  // `fifos`: what their names begin with, ".../input/data/train". kIo and the like: the folder cannot be listed, no FIFO made.
  static Result<std::unique_ptr<PipeFeed>> start(const std::filesystem::path& folder,
                                                 const std::string& fifos);
  // As end().
  ~PipeFeed();
  PipeFeed(const PipeFeed&) = delete;
  PipeFeed& operator=(const PipeFeed&) = delete;

  // At once, whether anybody reads, waits or has never come. Gives what ended it before, of which the reader has seen no more
  // than the end of its stream: a file that could not be read.
  Result<void> end();

 private:
  PipeFeed(const std::filesystem::path& folder, std::string fifos, job::Wakeup wakeup);
  std::string fifo(uint64_t epoch) const;
  Result<void> run();
  Result<UniqueFd> wait_for_reader(const std::string& fifo);
  Result<void> give_all(int fd);
  bool ended(int within_ms) const;

  storage::LocalStore files_;
  const std::string fifos_;
  std::vector<std::string> keys_;
  job::Wakeup wakeup_;    // readable: it is to end
  Result<void> outcome_;  // of the thread, once it has been joined
  std::thread thread_;    // last: it uses all of the above
};

}  // namespace atl::sagemaker
