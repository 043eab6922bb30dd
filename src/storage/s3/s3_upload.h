// Putting an object into the bucket: small ones by one PUT, large ones in parts, several at a time. Either all of it
// is there afterwards, or what was there before.
//
// Every PUT carries a CRC-32C, which AWS holds against what arrived and keeps; elsewhere the signature's SHA-256 does
// the same. When the answer to the last request is lost, the object itself tells whether it went through: its ETag is
// the MD5 of the content, or of the parts' MD5s.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "storage/remote.h"
#include "storage/s3/s3_client.h"
#include "storage/s3/s3_requests.h"

namespace atl::storage {

struct S3TransferOptions {
  uint64_t one_put_bytes = uint64_t{16} << 20;  // what is longer goes in parts
  uint64_t part_bytes = uint64_t{8} << 20;      // longer ones for objects of more than 10,000 parts
  int parallel_parts = 4;
  uint64_t one_copy_bytes = uint64_t{5} << 30;  // S3's limit for CopyObject
  uint64_t copy_part_bytes = uint64_t{512} << 20;
};

// `key` is whole here; so is the one of the result.
Result<ObjectInfo> put_object(S3Client& client,
                              const S3TransferOptions& transfer,
                              const std::string& key,
                              const UploadSource& source,
                              const UploadOptions& options);

// HEAD. `if_match` as in RangeRequest.
struct HeadAnswer {
  RemoteObject object;
  std::string content_type;
};
Result<HeadAnswer> head_object(S3Client& client,
                               const std::string& key,
                               const std::string& if_match = {},
                               std::stop_token stop = {});

// An upload in parts that has begun; without complete() it leaves nothing.
class MultipartUpload {
 public:
  static Result<std::unique_ptr<MultipartUpload>> begin(S3Client& client,
                                                        const std::string& key,
                                                        std::vector<HttpHeader> headers,
                                                        uint64_t size_bytes,
                                                        std::stop_token stop);
  ~MultipartUpload();

  // The parts in order; `number` from 1. The request of a part, to be completed and sent by the caller.
  S3Request part_request(int number) const;
  void add_part(UploadedPart part);
  // `headers`: conditions.
  Result<ObjectInfo> complete(std::vector<HttpHeader> headers, std::stop_token stop);

 private:
  MultipartUpload(S3Client& client, std::string key, std::string id, uint64_t size_bytes)
      : client_(client), key_(std::move(key)), id_(std::move(id)), size_bytes_(size_bytes) {}
  std::string expected_etag() const;
  Result<ObjectInfo> find_completed(Error error, std::stop_token stop);

  S3Client& client_;
  const std::string key_;
  const std::string id_;
  const uint64_t size_bytes_;
  std::vector<UploadedPart> parts_;
  bool is_complete_ = false;
};

// The size of parts for an object of this size: at least `wanted`, at most 10,000 of them.
uint64_t part_size(uint64_t size_bytes, uint64_t wanted);

}  // namespace atl::storage
