// What a block of an object is called, and the file that it is kept in.
//
// A file is a header and the bytes. Little endian:
//    0  8  "ATLBLK1\n"
//    8  4  bytes of the header, its own CRC included
//   12  4  bytes of the block
//   16  8  bytes of the object
//   24  8  index of the block in the object
//   32  4  block_bytes that the object was cut by
//   36  4  bytes of a piece (kPieceBytes)
//   40  2  bytes of the remote's identity, then of the key, of the ETag; 2 bytes of zeros
//   48     identity, key, ETag; the CRC-32C of each piece, 4 bytes each; the CRC-32C of the header so far
//
// Pieces have CRCs of their own so that a part of a block can be read and checked without the rest. The
// name is a hash of the same identity; what stands in the header decides, so two blocks whose names
// collide push each other out and are never taken for one another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace atl::storage {

inline constexpr uint32_t kPieceBytes = uint32_t{64} << 10;
inline constexpr uint64_t kMinBlockBytes = uint64_t{4} << 10;
inline constexpr uint64_t kMaxBlockBytes = uint64_t{256} << 20;

// One version of one object, cut into blocks.
struct CachedObject {
  CachedObject(std::string remote_identity,
               std::string key,
               std::string etag,
               uint64_t size_bytes,
               uint64_t block_bytes);

  uint64_t blocks() const { return size_bytes / block_bytes + (size_bytes % block_bytes != 0); }
  // Of block `index`, which must be < blocks().
  uint64_t data_bytes(uint64_t index) const;
  // What its file is named by; never 0.
  uint64_t block_id(uint64_t index) const;
  // Names of more than kMaxNameBytes do not fit the header; no server gives such.
  bool can_be_kept() const;

  std::string remote_identity;
  std::string key;
  std::string etag;
  uint64_t size_bytes = 0;
  uint64_t block_bytes = 0;
  uint64_t hash[2] = {0, 0};  // SHA-256's first 128 bits over all of the above
};

inline constexpr size_t kMaxNameBytes = 4096;

struct BlockHeader {
  std::string remote_identity;
  std::string key;
  std::string etag;
  uint64_t object_bytes = 0;
  uint64_t index = 0;
  uint32_t block_bytes = 0;
  std::vector<uint32_t> piece_crcs;

  uint64_t data_bytes() const;
  bool is_of(const CachedObject& object, uint64_t index) const;
};

// How long the header of this block is; a file of another size than this and the data is not the block's.
uint64_t block_header_bytes(const CachedObject& object, uint64_t index);
std::string encode_block_header(const CachedObject& object,
                                uint64_t index,
                                std::span<const std::byte> data);
// The header at the beginning of `bytes`. kCorrupt: it is none, or not whole.
Result<BlockHeader> parse_block_header(std::span<const std::byte> bytes);
// Whether these are the header's bytes [offset, offset + size); offset is a multiple of kPieceBytes, and
// the size too, unless the block ends there.
bool pieces_hold(const BlockHeader& header, uint64_t offset, std::span<const std::byte> bytes);

}  // namespace atl::storage
