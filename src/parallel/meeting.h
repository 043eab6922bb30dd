// How the ranks of a job find each other, through c10d's TCPStore, which rank 0 keeps:
//
//   rank 0          opens the store, waits until the others are there (or the time is up), holds what they
//                   agreed on against its own, and gives its verdict
//   every other     connects, says where and what it is, waits for the verdict
//
// So all ranks end with the same answer, and of N ranks nobody reads N texts but rank 0.
#pragma once

#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "base/error.h"
#include "parallel/options.h"

namespace atl::parallel {

struct Meeting {
  c10::intrusive_ptr<c10d::Store> store;  // rank 0's holds the server
  std::vector<std::string> hosts;         // by rank
  std::string address;                    // of this rank, for data
};

// kInvalidInput: ranks and sizes that do not fit together; a rank that is there twice; a value that
// differs, with its key, both values and who has them. kIo: nobody listens at the master's place; ranks
// that have not come, by their numbers. kCancelled: GroupOptions::stop.
Result<Meeting> meet(const GroupOptions& options, const Agreed& agreed);

}  // namespace atl::parallel
