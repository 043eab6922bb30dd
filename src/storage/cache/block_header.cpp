#include "storage/cache/block_header.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/keyed_random.h"

namespace atl::storage {
namespace {

constexpr std::string_view kMagic = "ATLBLK1\n";
constexpr size_t kFixedBytes = 48;
constexpr size_t kCrcBytes = 4;

template <typename T>
void append(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((value >> (8 * i)) & 0xff);
}

template <typename T>
T load(std::span<const std::byte> bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | static_cast<T>(std::to_integer<T>(bytes[at + i]) << (8 * i)));
  }
  return value;
}

uint64_t pieces_in(uint64_t data_bytes) { return (data_bytes + kPieceBytes - 1) / kPieceBytes; }

uint64_t data_bytes_of(uint64_t object_bytes, uint64_t block_bytes, uint64_t index) {
  return std::min(block_bytes, object_bytes - index * block_bytes);
}

tl::unexpected<Error> damaged(const std::string& what) {
  return fail(ErrorCode::kCorrupt, "cached block: " + what);
}

}  // namespace

CachedObject::CachedObject(std::string remote_identity_in,
                           std::string key_in,
                           std::string etag_in,
                           uint64_t size_bytes_in,
                           uint64_t block_bytes_in)
    : remote_identity(std::move(remote_identity_in)),
      key(std::move(key_in)),
      etag(std::move(etag_in)),
      size_bytes(size_bytes_in),
      block_bytes(block_bytes_in) {
  std::string text;
  for (const std::string* part : {&remote_identity, &key, &etag}) {
    append<uint64_t>(text, part->size());
    text += *part;
  }
  append(text, size_bytes);
  append(text, block_bytes);
  std::array<unsigned char, 32> digest{};
  unsigned digest_bytes = 0;
  const int done =
      EVP_Digest(text.data(), text.size(), digest.data(), &digest_bytes, EVP_sha256(), nullptr);
  ATOLL_CHECK(done == 1 && digest_bytes == digest.size());
  const auto bytes = std::as_bytes(std::span(digest));
  hash[0] = load<uint64_t>(bytes, 0);
  hash[1] = load<uint64_t>(bytes, 8);
}

uint64_t CachedObject::data_bytes(uint64_t index) const {
  ATOLL_CHECK(index < blocks()) << index << " of " << blocks();
  return data_bytes_of(size_bytes, block_bytes, index);
}

uint64_t CachedObject::block_id(uint64_t index) const {
  const uint64_t id = hash_key({hash[0], hash[1], index});
  return id == 0 ? 1 : id;
}

bool CachedObject::can_be_kept() const {
  return remote_identity.size() <= kMaxNameBytes && key.size() <= kMaxNameBytes &&
         etag.size() <= kMaxNameBytes;
}

uint64_t BlockHeader::data_bytes() const { return data_bytes_of(object_bytes, block_bytes, index); }

bool BlockHeader::is_of(const CachedObject& object, uint64_t wanted) const {
  return index == wanted && object_bytes == object.size_bytes &&
         block_bytes == object.block_bytes && key == object.key && etag == object.etag &&
         remote_identity == object.remote_identity;
}

uint64_t block_header_bytes(const CachedObject& object, uint64_t index) {
  return kFixedBytes + object.remote_identity.size() + object.key.size() + object.etag.size() +
         kCrcBytes * pieces_in(object.data_bytes(index)) + kCrcBytes;
}

std::string encode_block_header(const CachedObject& object,
                                uint64_t index,
                                std::span<const std::byte> data) {
  ATOLL_CHECK(object.can_be_kept());
  ATOLL_CHECK(data.size() == object.data_bytes(index)) << data.size();
  const uint64_t header_bytes = block_header_bytes(object, index);
  std::string out(kMagic);
  out.reserve(header_bytes);
  append(out, static_cast<uint32_t>(header_bytes));
  append(out, static_cast<uint32_t>(data.size()));
  append(out, object.size_bytes);
  append(out, index);
  append(out, static_cast<uint32_t>(object.block_bytes));
  append(out, kPieceBytes);
  append(out, static_cast<uint16_t>(object.remote_identity.size()));
  append(out, static_cast<uint16_t>(object.key.size()));
  append(out, static_cast<uint16_t>(object.etag.size()));
  append(out, uint16_t{0});
  out += object.remote_identity;
  out += object.key;
  out += object.etag;
  for (size_t at = 0; at < data.size(); at += kPieceBytes) {
    append(out, crc32c(data.subspan(at, std::min<size_t>(kPieceBytes, data.size() - at))));
  }
  append(out, crc32c(out));
  return out;
}

Result<BlockHeader> parse_block_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kFixedBytes + kCrcBytes ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return damaged("not one of ours");
  }
  const auto header_bytes = load<uint32_t>(bytes, 8);
  const auto data_bytes = load<uint32_t>(bytes, 12);
  BlockHeader header;
  header.object_bytes = load<uint64_t>(bytes, 16);
  header.index = load<uint64_t>(bytes, 24);
  header.block_bytes = load<uint32_t>(bytes, 32);
  const size_t names[] = {
      load<uint16_t>(bytes, 40), load<uint16_t>(bytes, 42), load<uint16_t>(bytes, 44)};
  for (const size_t name : names) {
    if (name > kMaxNameBytes) return damaged("a name is too long");
  }
  if (header.block_bytes < kMinBlockBytes || header.block_bytes > kMaxBlockBytes ||
      load<uint32_t>(bytes, 36) != kPieceBytes || load<uint16_t>(bytes, 46) != 0) {
    return damaged("impossible sizes");
  }
  // The index is held against the number of blocks, so that their product cannot overflow.
  if (header.object_bytes == 0 || header.index > (header.object_bytes - 1) / header.block_bytes ||
      data_bytes != header.data_bytes()) {
    return damaged("a block that the object does not have");
  }
  const uint64_t expected =
      kFixedBytes + names[0] + names[1] + names[2] + kCrcBytes * pieces_in(data_bytes) + kCrcBytes;
  if (header_bytes != expected || bytes.size() < expected) return damaged("the header is cut off");
  const size_t crc_at = header_bytes - kCrcBytes;
  if (crc32c(bytes.first(crc_at)) != load<uint32_t>(bytes, crc_at)) {
    return damaged("the header's checksum does not hold");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  size_t at = kFixedBytes;
  header.remote_identity = text.substr(at, names[0]);
  header.key = text.substr(at += names[0], names[1]);
  header.etag = text.substr(at += names[1], names[2]);
  for (at += names[2]; at < crc_at; at += kCrcBytes) {
    header.piece_crcs.push_back(load<uint32_t>(bytes, at));
  }
  return header;
}

bool pieces_hold(const BlockHeader& header, uint64_t offset, std::span<const std::byte> bytes) {
  size_t piece = offset / kPieceBytes;
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes, ++piece) {
    if (piece >= header.piece_crcs.size()) return false;
    const auto part = bytes.subspan(at, std::min<size_t>(kPieceBytes, bytes.size() - at));
    if (crc32c(part) != header.piece_crcs[piece]) return false;
  }
  return true;
}

}  // namespace atl::storage
