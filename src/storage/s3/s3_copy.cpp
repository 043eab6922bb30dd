#include "storage/s3/s3_copy.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/s3/signer.h"

namespace atl::storage {

namespace {

// The server copies before it answers.
constexpr std::chrono::minutes kPatience{5};

std::vector<HttpHeader> source_headers(const S3Client& client,
                                       const std::string& from,
                                       const std::string& etag) {
  return {{"x-amz-copy-source",
           fmt::format("/{}/{}", client.endpoint().bucket(), encode_uri(from, false))},
          {"x-amz-copy-source-if-match", etag}};
}

Result<ObjectInfo> copy_in_parts(S3Client& client,
                                 const S3TransferOptions& transfer,
                                 const ObjectInfo& from,
                                 const std::string& to,
                                 std::vector<HttpHeader> headers) {
  const auto upload =
      ATOLL_TRY(MultipartUpload::begin(client, to, std::move(headers), from.size_bytes, {}));
  const uint64_t part_bytes = part_size(from.size_bytes, transfer.copy_part_bytes);
  {
    S3Requests requests(client, transfer.parallel_parts, {});
    int number = 0;
    for (uint64_t offset = 0; offset < from.size_bytes; offset += part_bytes) {
      if (!requests.wait_for_place()) break;
      S3Request request = upload->part_request(++number);
      request.headers = source_headers(client, from.key, from.etag);
      const uint64_t last = std::min(offset + part_bytes, from.size_bytes) - 1;
      request.headers.push_back(
          {"x-amz-copy-source-range", fmt::format("bytes={}-{}", offset, last)});
      request.may_hold_error = true;
      request.patience = kPatience;
      const std::string what = client.what(request);
      requests.send(std::move(request),
                    [&upload, number, what](const HttpResponse& response) -> Result<void> {
                      auto part = ATOLL_TRY_CONTEXT(parse_new_object(response.body), what);
                      if (part.etag.empty())
                        return fail(ErrorCode::kIo, what + ": the answer has no ETag");
                      upload->add_part({number, std::move(part.etag), {}});
                      return {};
                    });
    }
    ATOLL_TRY(requests.wait());
  }
  return upload->complete({}, {});
}

}  // namespace

Result<ObjectInfo> copy_object(S3Client& client,
                               const S3TransferOptions& transfer,
                               const std::string& from,
                               const std::string& to,
                               const Metadata& metadata,
                               const std::string& if_match,
                               bool* sent_again) {
  // What it is now: how long, which version, which type.
  const HeadAnswer source = ATOLL_TRY(head_object(client, from, if_match));
  auto headers = ATOLL_TRY(metadata_headers(metadata));
  if (!source.content_type.empty()) headers.push_back({"Content-Type", source.content_type});
  const ObjectInfo& info = source.object.info;
  if (info.size_bytes > transfer.one_copy_bytes) {
    return copy_in_parts(client, transfer, info, to, std::move(headers));
  }
  S3Request request;
  request.method = "PUT";
  request.key = to;
  request.headers = std::move(headers);
  for (HttpHeader& header : source_headers(client, from, info.etag)) {
    request.headers.push_back(std::move(header));
  }
  request.headers.push_back({"x-amz-metadata-directive", "REPLACE"});
  request.may_hold_error = true;
  request.patience = kPatience;
  const std::string what = client.what(request);
  const auto answer = client.perform(std::move(request));
  if (sent_again != nullptr) *sent_again |= answer.tries > 1;
  const auto response = ATOLL_TRY(answer.response);
  const auto made = ATOLL_TRY_CONTEXT(parse_new_object(response.body), what);
  if (made.etag.empty() || !made.modified) return ATOLL_TRY(head_object(client, to)).object.info;
  return ObjectInfo{to, info.size_bytes, *made.modified, made.etag};
}

}  // namespace atl::storage
