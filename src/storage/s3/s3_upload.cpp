#include "storage/s3/s3_upload.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "storage/s3/md5.h"
#include "storage/sha256.h"

namespace atl::storage {

namespace {

constexpr uint64_t kMostParts = 10'000;
// The server puts the parts together, or copies, before it answers.
constexpr std::chrono::minutes kPatience{5};

std::string unquoted(std::string_view etag) {
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  return std::string(etag);
}

std::vector<HttpHeader> conditions(const UploadOptions& options) {
  std::vector<HttpHeader> headers;
  if (options.if_absent) headers.push_back({"If-None-Match", "*"});
  if (!options.if_match.empty()) headers.push_back({"If-Match", options.if_match});
  return headers;
}

Result<std::vector<HttpHeader>> content_headers(const UploadOptions& options) {
  auto headers = ATOLL_TRY(metadata_headers(options.metadata));
  if (!options.content_type.empty()) headers.push_back({"Content-Type", options.content_type});
  return headers;
}

Result<Blob> read_part(const UploadSource& source, uint64_t offset, uint64_t size_bytes) {
  auto blob = ATOLL_TRY(source.read(offset, size_bytes));
  if (blob.size() == size_bytes) return blob;
  return fail(ErrorCode::kIo,
              fmt::format("what is uploaded has changed: {} instead of {} bytes at {}",
                          blob.size(),
                          size_bytes,
                          offset));
}

// The object as an answer to a PUT tells it; the date is the answer's own, within a second of the object's.
ObjectInfo new_object(const S3Client& client,
                      const std::string& key,
                      uint64_t size_bytes,
                      std::string etag,
                      const HttpResponse& response) {
  const auto date = parse_http_date(response.header("date"));
  return {key, size_bytes, date.value_or(client.now()), std::move(etag)};
}

// Whether a conflict is with ourselves: an earlier try was carried out, but its answer was lost.
Result<ObjectInfo> find_our_own(S3Client& client,
                                const std::string& key,
                                const Blob& body,
                                const Metadata& metadata,
                                Error error) {
  const auto digest = md5(body.bytes());
  const auto there = head_object(client, key);
  if (digest && there && there->object.info.size_bytes == body.size() &&
      unquoted(there->object.info.etag) == to_hex(*digest) && there->object.metadata == metadata) {
    return there->object.info;
  }
  return tl::unexpected(std::move(error));
}

S3Client::Answer put_once(S3Client& client, S3Request request, const UploadOptions& options) {
  const bool has_condition = !options.if_match.empty();
  S3Request without_quotes;
  if (has_condition) {
    without_quotes = request;
    for (HttpHeader& header : without_quotes.headers) {
      if (header.name == "If-Match") header.value = unquoted(header.value);
    }
  }
  S3Client::Answer answer = client.perform(std::move(request), options.stop);
  const bool is_conflict = !answer.response && answer.response.error().code == ErrorCode::kConflict;
  if (!has_condition || !is_conflict) return answer;
  // radosgw 16 compares the ETag of a PUT, quotes and all, with one that has none.
  const auto there = head_object(client, without_quotes.key, {}, options.stop);
  if (!there && there.error().code != ErrorCode::kNotFound) {
    answer.response = tl::unexpected(there.error());  // not known to be a conflict
  }
  if (!there || there->object.info.etag != options.if_match) return answer;
  S3Client::Answer second = client.perform(std::move(without_quotes), options.stop);
  second.tries += answer.tries;
  return second;
}

Result<ObjectInfo> put_at_once(S3Client& client,
                               const std::string& key,
                               const UploadSource& source,
                               const UploadOptions& options) {
  S3Request request;
  request.method = "PUT";
  request.key = key;
  request.headers = ATOLL_TRY(content_headers(options));
  for (HttpHeader& header : conditions(options)) request.headers.push_back(std::move(header));
  request.body = ATOLL_TRY_CONTEXT(read_part(source, 0, source.size_bytes), client.what(request));
  request.headers.push_back({"x-amz-checksum-crc32c", checksum_text(crc32c(request.body.bytes()))});
  const Blob body = request.body;
  auto [response, tries] = put_once(client, std::move(request), options);
  if (!response) {
    Error error = std::move(response).error();
    if (error.code == ErrorCode::kConflict && tries > 1) {
      return find_our_own(client, key, body, options.metadata, std::move(error));
    }
    return tl::unexpected(std::move(error));
  }
  std::string etag = quoted_etag(response->header("etag"));
  if (etag.empty()) return ATOLL_TRY(head_object(client, key, {}, options.stop)).object.info;
  return new_object(client, key, source.size_bytes, std::move(etag), *response);
}

Result<void> send_parts(S3Client& client,
                        const S3TransferOptions& transfer,
                        MultipartUpload& upload,
                        const UploadSource& source,
                        std::stop_token stop) {
  const uint64_t part_bytes = part_size(source.size_bytes, transfer.part_bytes);
  S3Requests requests(client, transfer.parallel_parts, std::move(stop));
  int number = 0;
  for (uint64_t offset = 0; offset < source.size_bytes; offset += part_bytes) {
    if (!requests.wait_for_place()) break;
    auto body = read_part(source, offset, std::min(part_bytes, source.size_bytes - offset));
    if (!body) {
      requests.fail_with(std::move(body).error());
      break;
    }
    S3Request request = upload.part_request(++number);
    request.body = std::move(*body);
    const std::string checksum = checksum_text(crc32c(request.body.bytes()));
    request.headers.push_back({"x-amz-checksum-crc32c", checksum});
    const std::string what = client.what(request);
    requests.send(std::move(request),
                  [&upload, number, checksum, what](const HttpResponse& response) -> Result<void> {
                    const std::string etag(response.header("etag"));
                    if (etag.empty())
                      return fail(ErrorCode::kIo, what + ": the answer has no ETag");
                    upload.add_part({number, etag, checksum});
                    return {};
                  });
  }
  return requests.wait();
}

// The condition is AWS's to keep when the upload is completed; servers that ignore it there at least see it kept up to
// this moment.
Result<void> check_condition(S3Client& client,
                             const std::string& key,
                             const UploadOptions& options) {
  if (!options.if_absent && options.if_match.empty()) return {};
  const auto there = head_object(client, key, {}, options.stop);
  if (!there && there.error().code != ErrorCode::kNotFound) return tl::unexpected(there.error());
  const bool holds =
      options.if_absent ? !there : there && there->object.info.etag == options.if_match;
  if (holds) return {};
  return fail(
      ErrorCode::kConflict,
      fmt::format("PUT s3://{}/{}: it is another one by now", client.endpoint().bucket(), key));
}

}  // namespace

uint64_t part_size(uint64_t size_bytes, uint64_t wanted) {
  constexpr uint64_t kUnit = uint64_t{1} << 20;
  const uint64_t least = (size_bytes + kMostParts - 1) / kMostParts;
  return least <= wanted ? wanted : (least + kUnit - 1) / kUnit * kUnit;
}

Result<HeadAnswer> head_object(S3Client& client,
                               const std::string& key,
                               const std::string& if_match,
                               std::stop_token stop) {
  S3Request request;
  request.method = "HEAD";
  request.key = key;
  if (!if_match.empty()) request.headers.push_back({"If-Match", if_match});
  const std::string what = client.what(request);
  const auto response = ATOLL_TRY(client.perform(std::move(request), std::move(stop)).response);
  HeadAnswer answer;
  answer.object.info = ATOLL_TRY_CONTEXT(object_info(key, response), what);
  answer.object.metadata = metadata_of(response);
  answer.content_type = response.header("content-type");
  return answer;
}

Result<ObjectInfo> put_object(S3Client& client,
                              const S3TransferOptions& transfer,
                              const std::string& key,
                              const UploadSource& source,
                              const UploadOptions& options) {
  if (source.size_bytes <= transfer.one_put_bytes) return put_at_once(client, key, source, options);
  ATOLL_TRY(check_condition(client, key, options));
  auto headers = ATOLL_TRY(content_headers(options));
  headers.push_back({"x-amz-checksum-algorithm", "CRC32C"});
  const auto upload = ATOLL_TRY(
      MultipartUpload::begin(client, key, std::move(headers), source.size_bytes, options.stop));
  ATOLL_TRY(send_parts(client, transfer, *upload, source, options.stop));
  ATOLL_TRY(check_condition(client, key, options));
  return upload->complete(conditions(options), options.stop);
}

Result<std::unique_ptr<MultipartUpload>> MultipartUpload::begin(S3Client& client,
                                                                const std::string& key,
                                                                std::vector<HttpHeader> headers,
                                                                uint64_t size_bytes,
                                                                std::stop_token stop) {
  S3Request request;
  request.method = "POST";
  request.key = key;
  request.query = {{"uploads", ""}};
  request.headers = std::move(headers);
  const std::string what = client.what(request);
  const auto response = ATOLL_TRY(client.perform(std::move(request), std::move(stop)).response);
  auto id = ATOLL_TRY_CONTEXT(parse_upload_id(response.body), what);
  return std::unique_ptr<MultipartUpload>(
      new MultipartUpload(client, key, std::move(id), size_bytes));
}

MultipartUpload::~MultipartUpload() {
  if (is_complete_) return;
  S3Request request;
  request.method = "DELETE";
  request.key = key_;
  request.query = {{"uploadId", id_}};
  // An upload that cannot be given up either is left to the bucket's rule for unfinished ones.
  (void)client_.perform(std::move(request));
}

S3Request MultipartUpload::part_request(int number) const {
  S3Request request;
  request.method = "PUT";
  request.key = key_;
  request.query = {{"partNumber", fmt::format("{}", number)}, {"uploadId", id_}};
  return request;
}

void MultipartUpload::add_part(UploadedPart part) { parts_.push_back(std::move(part)); }

Result<ObjectInfo> MultipartUpload::complete(std::vector<HttpHeader> headers,
                                             std::stop_token stop) {
  std::sort(parts_.begin(), parts_.end(), [](const UploadedPart& a, const UploadedPart& b) {
    return a.number < b.number;
  });
  const std::string body = complete_upload_body(parts_);
  const auto bytes = std::as_bytes(std::span(body));
  S3Request request;
  request.method = "POST";
  request.key = key_;
  request.query = {{"uploadId", id_}};
  request.headers = std::move(headers);
  request.headers.push_back({"Content-Type", "application/xml"});
  request.body = Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
  request.may_hold_error = true;
  request.patience = kPatience;
  const std::string what = client_.what(request);
  const auto answer = client_.perform(std::move(request), stop);
  if (!answer.response) return find_completed(answer.response.error(), std::move(stop));
  is_complete_ = true;
  const auto made = ATOLL_TRY_CONTEXT(parse_new_object(answer.response->body), what);
  if (made.etag.empty())
    return ATOLL_TRY(head_object(client_, key_, {}, std::move(stop))).object.info;
  return new_object(client_, key_, size_bytes_, made.etag, *answer.response);
}

// The MD5 of the parts' MD5s, and how many they are; "" where the ETags are no MD5s.
std::string MultipartUpload::expected_etag() const {
  std::string digests;
  for (const UploadedPart& part : parts_) {
    const std::string hex = unquoted(part.etag);
    if (hex.size() != 32 || hex.find_first_not_of("0123456789abcdef") != std::string::npos)
      return {};
    for (size_t i = 0; i < hex.size(); i += 2) {
      digests += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
  }
  const auto digest = md5(digests);
  return digest ? fmt::format("{}-{}", to_hex(*digest), parts_.size()) : "";
}

// After an error: an earlier try may have been carried out.
Result<ObjectInfo> MultipartUpload::find_completed(Error error, std::stop_token stop) {
  if (error.code == ErrorCode::kIo || error.code == ErrorCode::kNotFound ||
      error.code == ErrorCode::kConflict) {
    const auto there = head_object(client_, key_, {}, std::move(stop));
    const std::string expected = expected_etag();
    if (there && !expected.empty() && unquoted(there->object.info.etag) == expected) {
      is_complete_ = true;
      return there->object.info;
    }
  }
  return tl::unexpected(std::move(error));
}

}  // namespace atl::storage
