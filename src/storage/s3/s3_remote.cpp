#include "storage/s3/s3_remote.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/crc32c.h"
#include "storage/s3/md5.h"
#include "storage/s3/receive_buffers.h"
#include "storage/s3/s3_copy.h"
#include "storage/s3/s3_errors.h"
#include "storage/s3/s3_headers.h"
#include "storage/s3/s3_requests.h"
#include "storage/s3/s3_xml.h"

namespace atl::storage {

namespace {

constexpr size_t kKeysOfAPage = 1000;
constexpr int kParallelRemovals = 16;
// Of the keys that a server was too busy to remove.
constexpr int kRemovalRounds = 5;
// As much as the least read-ahead window has under way.
constexpr size_t kKeptBufferBytes = size_t{32} << 20;

Blob blob_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

// What the answer to a ranged GET says of the object. kIo where it is not what was asked for.
Result<ObjectInfo> check_range(const RangeRequest& request, const HttpResponse& response) {
  ObjectInfo info;
  info.key = request.key;
  info.etag = quoted_etag(response.header("etag"));
  info.modified = parse_http_date(response.header("last-modified")).value_or(SystemTime{});
  if (info.etag.empty()) return fail(ErrorCode::kIo, "the answer has no ETag");
  // If-Match has been promised; an answer that breaks the promise is no answer.
  if (!request.if_match.empty() && info.etag != request.if_match) {
    return fail(ErrorCode::kIo,
                fmt::format("asked for version {}, got {}", request.if_match, info.etag));
  }
  if (response.status == 206) {
    const auto range = parse_content_range(response.header("content-range"));
    const uint64_t wanted =
        range ? std::min(request.size_bytes, range->total - std::min(request.offset, range->total))
              : 0;
    if (!range || range->first != request.offset ||
        range->last - range->first + 1 != response.body_bytes || response.body_bytes != wanted) {
      return fail(ErrorCode::kIo,
                  fmt::format("asked for {} bytes from {}, got {} bytes of '{:.60}'",
                              request.size_bytes,
                              request.offset,
                              response.body_bytes,
                              response.header("content-range")));
    }
    info.size_bytes = range->total;
    return info;
  }
  // A server may send the whole instead, where the range covers it.
  if (request.offset != 0 || parse_size(response.header("content-length")) != response.body_bytes) {
    return fail(ErrorCode::kIo, fmt::format("the answer to a range is a {}", response.status));
  }
  info.size_bytes = response.body_bytes;
  return info;
}

class S3Remote : public Remote {
 public:
  S3Remote(std::shared_ptr<S3Client> client, std::string prefix, S3TransferOptions transfer)
      : client_(std::move(client)),
        prefix_(std::move(prefix)),
        transfer_(transfer),
        buffers_(ReceiveBuffers::make(kKeptBufferBytes)) {}
  ~S3Remote() override { client_->end(); }

  std::string uri() const override {
    std::string uri = fmt::format("s3://{}/{}", client_->endpoint().bucket(), prefix_);
    uri.pop_back();
    return uri;
  }
  std::string identity() const override {
    return fmt::format(
        "{}/{}/{}", client_->endpoint().identity(), client_->endpoint().bucket(), prefix_);
  }

  void read_async(RangeRequest request, OnRange done) override;
  Result<RemoteObject> stat(std::string_view key) override;
  Result<ListPage> list_page(std::string_view prefix,
                             std::string_view next,
                             std::string_view start_after) override;
  Result<ObjectInfo> upload(std::string_view key,
                            const UploadSource& source,
                            const UploadOptions& options) override;
  Result<ObjectInfo> copy(std::string_view from,
                          std::string_view to,
                          const Metadata& metadata,
                          std::string_view if_match,
                          bool* sent_again) override;
  Result<void> remove(std::span<const std::string> keys, bool* sent_again) override;

 private:
  // What it is called in the bucket; kInvalidInput for what no bucket holds.
  Result<std::string> whole(std::string_view key) const;
  void read_past_the_end(const RangeRequest& request, const std::string& key, OnRange done);
  Result<void> remove_page(std::span<const std::string> keys, bool* sent_again);
  Result<void> remove_one_by_one(std::span<const std::string> keys, bool* sent_again);

  const std::shared_ptr<S3Client> client_;
  const std::string prefix_;
  const S3TransferOptions transfer_;
  const std::shared_ptr<ReceiveBuffers> buffers_;
};

Result<std::string> S3Remote::whole(std::string_view key) const {
  std::string whole = prefix_ + std::string(key);
  if (!key.empty() && whole.size() <= 1024 && key.find('\0') == std::string_view::npos)
    return whole;
  return fail(ErrorCode::kInvalidInput,
              fmt::format("s3://{}/{:.100}: a key has 1 to 1,024 bytes, none of them NUL",
                          client_->endpoint().bucket(),
                          whole));
}

void S3Remote::read_async(RangeRequest request, OnRange done) {
  ATOLL_CHECK(request.size_bytes > 0);
  auto key = whole(request.key);
  if (!key) return done(tl::unexpected(std::move(key).error()));
  const uint64_t last =
      request.offset +
      std::min(request.size_bytes - 1, std::numeric_limits<uint64_t>::max() - request.offset);
  const auto buffer = buffers_->take(request.size_bytes);
  S3Request get;
  get.key = *key;
  get.headers = {{"Range", fmt::format("bytes={}-{}", request.offset, last)},
                 {"x-amz-checksum-mode", "ENABLED"}};
  if (!request.if_match.empty()) get.headers.push_back({"If-Match", request.if_match});
  get.into = buffer.bytes;
  get.accepted = 416;
  const auto shared = std::make_shared<const RangeRequest>(std::move(request));
  get.check = [shared](const HttpResponse& response) -> Result<void> {
    ATOLL_TRY(check_range(*shared, response));
    return {};
  };
  client_->send(std::move(get),
                [this, shared, buffer, key = std::move(*key), done = std::move(done)](
                    Result<HttpResponse> answer, int) {
                  if (!answer) return done(tl::unexpected(std::move(answer).error()));
                  if (answer->status == 416) return read_past_the_end(*shared, key, done);
                  auto info = check_range(*shared, *answer);
                  if (!info) return done(tl::unexpected(std::move(info).error()));
                  done(RangeBytes{Blob(buffer.owner, buffer.bytes.first(answer->body_bytes)),
                                  std::move(*info)});
                });
}

// The answer to such a range does not say which object it is.
void S3Remote::read_past_the_end(const RangeRequest& request,
                                 const std::string& key,
                                 OnRange done) {
  S3Request head;
  head.method = "HEAD";
  head.key = key;
  if (!request.if_match.empty()) head.headers.push_back({"If-Match", request.if_match});
  const std::string what = client_->what(head);
  client_->send(
      std::move(head), [request, what, done = std::move(done)](Result<HttpResponse> answer, int) {
        if (!answer) return done(tl::unexpected(std::move(answer).error()));
        auto info = object_info(request.key, *answer);
        if (!info) return done(tl::unexpected(std::move(info).error().with_context(what)));
        if (request.offset < info->size_bytes) {
          return done(
              fail(ErrorCode::kIo, what + ": the server refused a range that the object has"));
        }
        done(RangeBytes{Blob(), std::move(*info)});
      });
}

Result<RemoteObject> S3Remote::stat(std::string_view key) {
  RemoteObject object = ATOLL_TRY(head_object(*client_, ATOLL_TRY(whole(key)))).object;
  object.info.key = key;
  return object;
}

Result<ListPage> S3Remote::list_page(std::string_view prefix,
                                     std::string_view next,
                                     std::string_view start_after) {
  S3Request request;
  const std::string whole_prefix = prefix_ + std::string(prefix);
  request.query = {{"list-type", "2"},
                   {"encoding-type", "url"},
                   {"max-keys", fmt::format("{}", kKeysOfAPage)},
                   {"prefix", whole_prefix}};
  if (!next.empty()) request.query.emplace_back("continuation-token", next);
  if (next.empty() && !start_after.empty()) {
    request.query.emplace_back("start-after", prefix_ + std::string(start_after));
  }
  const std::string what =
      fmt::format("listing s3://{}/{}", client_->endpoint().bucket(), whole_prefix);
  const auto response = ATOLL_TRY_CONTEXT(client_->perform(std::move(request)).response, what);
  ListPage page = ATOLL_TRY_CONTEXT(parse_list_page(response.body), what);
  for (ObjectInfo& object : page.objects) {
    if (!object.key.starts_with(whole_prefix)) {
      return fail(ErrorCode::kIo,
                  fmt::format("{}: the server gave the key '{:.100}'", what, object.key));
    }
    object.key.erase(0, prefix_.size());
  }
  // The object "PREFIX/" itself has no name below the prefix.
  std::erase_if(page.objects, [](const ObjectInfo& object) { return object.key.empty(); });
  return page;
}

Result<ObjectInfo> S3Remote::upload(std::string_view key,
                                    const UploadSource& source,
                                    const UploadOptions& options) {
  const std::string target = ATOLL_TRY(whole(key));
  ObjectInfo info = ATOLL_TRY(put_object(*client_, transfer_, target, source, options));
  info.key = key;
  return info;
}

Result<ObjectInfo> S3Remote::copy(std::string_view from,
                                  std::string_view to,
                                  const Metadata& metadata,
                                  std::string_view if_match,
                                  bool* sent_again) {
  const std::string source = ATOLL_TRY(whole(from));
  const std::string target = ATOLL_TRY(whole(to));
  ObjectInfo info = ATOLL_TRY(copy_object(
      *client_, transfer_, source, target, metadata, std::string(if_match), sent_again));
  info.key = to;
  return info;
}

Result<void> S3Remote::remove(std::span<const std::string> keys, bool* sent_again) {
  std::vector<std::string> together;
  std::vector<std::string> alone;
  for (const std::string& key : keys) {
    std::string whole_key = ATOLL_TRY(whole(key));
    (fits_into_xml(whole_key) ? together : alone).push_back(std::move(whole_key));
  }
  if (together.size() == 1) {
    alone.push_back(std::move(together[0]));
    together.clear();
  }
  for (size_t begin = 0; begin < together.size(); begin += kKeysOfAPage) {
    const size_t size = std::min(kKeysOfAPage, together.size() - begin);
    ATOLL_TRY(remove_page(std::span(together).subspan(begin, size), sent_again));
  }
  return remove_one_by_one(alone, sent_again);
}

Result<void> S3Remote::remove_page(std::span<const std::string> keys, bool* sent_again) {
  std::vector<std::string> left(keys.begin(), keys.end());
  for (int round = 1;; ++round) {
    S3Request request;
    request.method = "POST";
    request.query = {{"delete", ""}};
    const std::string body = delete_body(left);
    request.body = blob_of(body);
    request.headers = {{"Content-Type", "application/xml"},
                       {"x-amz-checksum-crc32c", checksum_text(crc32c(body))}};
    if (const auto digest = md5(body)) request.headers.push_back({"Content-MD5", base64(*digest)});
    const std::string what = fmt::format("removing {} keys of {}", left.size(), uri());
    const auto answer = client_->perform(std::move(request));
    if (sent_again != nullptr) *sent_again |= answer.tries > 1 || round > 1;
    const auto response = ATOLL_TRY_CONTEXT(answer.response, what);
    const auto failures = ATOLL_TRY_CONTEXT(parse_delete_failures(response.body), what);
    left.clear();
    for (const DeleteFailure& failure : failures) {
      if (failure.code == "NoSuchKey") continue;
      if (may_pass(0, failure.code) && round < kRemovalRounds) {
        left.push_back(failure.key);
        continue;
      }
      HttpResponse answer;
      answer.status = failure.code == "AccessDenied" ? 403 : 0;
      return tl::unexpected(s3_error(
          {fmt::format("DELETE s3://{}/{}", client_->endpoint().bucket(), failure.key), "DELETE"},
          answer,
          {failure.code, failure.message, {}, {}}));
    }
    if (left.empty()) return {};
  }
}

Result<void> S3Remote::remove_one_by_one(std::span<const std::string> keys, bool* sent_again) {
  S3Requests requests(*client_, kParallelRemovals, {});
  for (const std::string& key : keys) {
    if (!requests.wait_for_place()) break;
    S3Request request;
    request.method = "DELETE";
    request.key = key;
    request.accepted = 404;
    const FailedRequest names{client_->what(request), request.method};
    requests.send(std::move(request), [names](const HttpResponse& response) -> Result<void> {
      const S3ErrorBody body = parse_error_body(response.body);
      if (response.status != 404 || body.code == "NoSuchKey") return {};
      return tl::unexpected(s3_error(names, response, body));
    });
  }
  auto removed = requests.wait();
  if (sent_again != nullptr) *sent_again |= requests.sent_again();
  return removed;
}

}  // namespace

std::shared_ptr<Remote> make_s3_remote(std::shared_ptr<S3Client> client,
                                       std::string prefix,
                                       S3TransferOptions transfer) {
  return std::make_shared<S3Remote>(std::move(client), std::move(prefix), transfer);
}

}  // namespace atl::storage
