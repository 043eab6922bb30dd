// RecordIO, in which a pipe wraps each object when the channel's RecordWrapperType says so: records one after the other,
//   u32 magic 0xced7230a, u32 length (29 bits) and, above it, which part of a record this is, the data, zeros up to a
//   multiple of 4 bytes,
// all little-endian. A record of several parts (1 the first, 2 another, 3 the last) was cut where its data held the magic
// number, which is left out there. Source: dmlc-core, include/dmlc/recordio.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/error.h"

namespace atl::sagemaker {

class RecordIoDecoder {
 public:
  using Sink = std::function<Result<void>(std::span<const std::byte>)>;

  // Pieces of the stream as they come; the data goes to the sink, in pieces of its own. kCorrupt: no RecordIO, with the
  // byte; then nothing more may be added. Errors of the sink.
  Result<void> add(std::span<const std::byte> bytes, const Sink& sink);
  // kCorrupt where the stream ends within a record.
  Result<void> finish() const;

 private:
  Result<void> read_header();

  std::vector<std::byte> header_;  // less than 8 bytes
  uint32_t data_left_ = 0;
  uint32_t padding_left_ = 0;
  uint32_t part_ = 0;       // of the last header
  bool within_ = false;     // a record of several parts has begun
  bool magic_due_ = false;  // the cut of this part is to be put back
  uint64_t offset_ = 0;     // in the stream
};

}  // namespace atl::sagemaker
