// A channel in Pipe mode: a FIFO CHANNEL_0 that gives all its objects, one after the other, once. Training takes images in
// an order of its own and every epoch another one, so the stream is read once, at the start, to files on the job's volume,
// which then are the channel. It must be one of TFRecords: nothing else can be told apart when names are gone. FastFile
// mode does without the copy.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/error.h"
#include "sagemaker/channels.h"

namespace atl::sagemaker {

struct SpoolOptions {
  std::string directory;                        // the channel becomes a folder in it
  uint64_t shard_bytes = uint64_t{128} << 20;   // of a file: so much is held in memory
  std::chrono::milliseconds silence{300'000};   // without a byte, before it is given up
  std::function<void(const std::string&)> say;  // a line for people
};

// kIo: no FIFO, no byte for too long, a full disk; kCorrupt: no TFRecords, or an end within a record. All name the channel.
Result<ChannelFolder> spool_pipe(const Paths& paths,
                                 const Channel& channel,
                                 const SpoolOptions& options);

}  // namespace atl::sagemaker
