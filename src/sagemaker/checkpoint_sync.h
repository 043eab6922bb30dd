// /opt/ml/checkpoints kept in step with a bucket, as SageMaker does it: what is there is restored before the program starts;
// what appears, changes or goes away in the folder then does so in the bucket.
//
// A file is uploaded when it has looked the same in two rounds, so that one that is being written is left alone until it is
// finished; the last round takes everything. Only what this folder has had is ever removed from the bucket: other hosts have
// folders of their own, and the same place. Names of temporary files (storage/key.h) are passed over. Not thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "storage/storage.h"

namespace atl::sagemaker {

class CheckpointSync {
 public:
  // `store` must outlive this. The folder is made.
  CheckpointSync(storage::ObjectStore& store, std::filesystem::path folder)
      : store_(store), folder_(std::move(folder)) {}

  // Everything of the store as files; how many there were.
  Result<size_t> restore();
  // One round; `last`: the program has ended, nothing changes any more. How many objects were put or removed.
  Result<size_t> synchronise(bool last);

 private:
  struct Seen {
    uint64_t bytes = 0;
    std::filesystem::file_time_type modified;
    bool operator==(const Seen&) const = default;
  };
  Result<std::map<std::string, Seen>> look() const;

  storage::ObjectStore& store_;
  const std::filesystem::path folder_;
  std::map<std::string, Seen> before_;  // in the round before
  std::map<std::string, Seen> stored_;  // as the bucket has it
};

}  // namespace atl::sagemaker
