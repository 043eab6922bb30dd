#include "doctor/bucket_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "aws/service.h"
#include "base/shell_word.h"
#include "storage/s3/s3_xml.h"

namespace atl::doctor {
namespace {

using storage::HttpResponse;
using storage::S3Request;

// Hidden from whoever reads the bucket through Atoll (storage/key.h).
constexpr std::string_view kProbePrefix = ".atoll-tmp-doctor-";
constexpr uint64_t kRangeBytes = 1024;
constexpr std::string_view kProbeContent = "A probe of atoll doctor. It may be removed.\n";

storage::Blob probe_content() {
  const auto bytes = std::as_bytes(std::span(kProbeContent));
  return storage::Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

// The server does not believe who we are; what we may do has not been asked yet.
bool is_about_identity(const Error& error) {
  return std::ranges::any_of(
      std::to_array<std::string_view>({"InvalidAccessKeyId",
                                       "SignatureDoesNotMatch",
                                       "ExpiredToken",
                                       "InvalidToken",
                                       "TokenRefreshRequired",
                                       "RequestTimeTooSkewed"}),
      [&](std::string_view code) { return error.message.find(code) != std::string::npos; });
}

// One conversation with one bucket.
class BucketTalk {
 public:
  BucketTalk(const BucketAccess& access, const BucketUse& use, Report& report, std::stop_token stop)
      : access_(access),
        use_(use),
        report_(report),
        stop_(std::move(stop)),
        key_(access.prefix + use.probe_name) {}

  void run(bool with_credentials) {
    if (with_credentials && !look_at_credentials()) return;
    if (!look_at_list()) return;
    look_at_region();
    look_at_get();
    if (use_.writes) look_at_writing();
  }

 private:
  void step(std::string_view id, std::string doing, std::string mend = {}) {
    report_.step({id, std::move(doing), Severity::kFailure, std::move(mend)});
  }
  void ok(std::string_view id, std::string what) {
    report_.add({id, Severity::kOk, std::move(what), "", ""});
  }

  std::string arn(std::string_view key) const {
    const std::string bucket =
        fmt::format("arn:{}:s3:::{}", aws::partition_of(access_.region_found()), access_.bucket);
    return key.empty() ? bucket : fmt::format("{}/{}", bucket, key);
  }
  std::string objects_arn() const { return arn(access_.prefix + "*"); }

  // What an error means, with the statement that the policy of these credentials lacks.
  void fail_with(std::string_view id,
                 const Error& error,
                 std::string why,
                 std::string_view actions,
                 const std::string& resource) {
    Finding finding{id, Severity::kFailure, without_hint(error), std::move(why), error.hint};
    if (error.code == ErrorCode::kUnsupported) finding.mend.clear();
    if (is_about_identity(error)) {
      finding.id = id::kCredentials;
    } else if (error.message.find("InvalidObjectState") != std::string::npos) {
      finding.why = "the object lies in an archive (Glacier) and cannot be read";
      finding.mend = "aws s3api restore-object, or copy it to the class STANDARD";
    } else if (error.code == ErrorCode::kPermission && !access_.is_anonymous) {
      // AWS names the action that was refused: kms:Decrypt, kms:GenerateDataKey.
      const bool is_key = error.message.find("kms:") != std::string::npos;
      finding.mend = "add to the policy of these credentials: " +
                     (is_key ? allow_statement("kms:Decrypt,kms:GenerateDataKey",
                                               "THE ARN OF THE BUCKET'S KEY")
                             : allow_statement(actions, resource));
    }
    report_.add(std::move(finding));
  }

  Result<HttpResponse> ask(S3Request request) { return access_.perform(std::move(request), stop_); }

  bool look_at_credentials();
  bool look_at_list();
  void look_at_region();
  void look_at_get();
  void look_at_writing();
  bool look_at_put();
  void look_at_conditions();
  void look_at_multipart();
  void look_at_delete();

  S3Request put_request() const {
    S3Request request;
    request.method = "PUT";
    request.key = key_;
    request.body = probe_content();
    return request;
  }
  Result<HttpResponse> remove_probe(std::stop_token stop) const {
    S3Request request;
    request.method = "DELETE";
    request.key = key_;
    return access_.perform(std::move(request), std::move(stop));
  }

  const BucketAccess& access_;
  const BucketUse& use_;
  Report& report_;
  const std::stop_token stop_;
  const std::string key_;  // of the probe
  std::optional<storage::ObjectInfo> sample_;
};

bool BucketTalk::look_at_credentials() {
  step(id::kCredentials,
       "looking for credentials",
       "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
  const auto found = access_.credentials();
  report_.add(credentials_finding(access_, found));
  return found.has_value();
}

bool BucketTalk::look_at_list() {
  step(id::kBucket,
       "listing " + access_.uri,
       fmt::format("curl -sI {}; check the endpoint, the proxy and the route to it",
                   shell_word(access_.server_url)));
  S3Request request;
  request.query = {
      {"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", "20"}, {"prefix", access_.prefix}};
  const auto answer = ask(std::move(request));
  if (!answer && answer.error().code != ErrorCode::kPermission) {
    report_.add({id::kBucket,
                 Severity::kFailure,
                 without_hint(answer.error()),
                 "",
                 answer.error().hint.empty() ? "check the bucket's name and the endpoint"
                                             : answer.error().hint});
    return false;
  }
  ok(id::kBucket, fmt::format("{} answers for {}", access_.server, access_.uri));
  if (!answer) {
    fail_with(id::kBucketList,
              answer.error(),
              "annotations and pictures are found by listing",
              "s3:ListBucket",
              arn(""));
    return !is_about_identity(answer.error());
  }
  const auto page = storage::parse_list_page(answer->body);
  if (!page) {
    report_.add({id::kBucketList,
                 Severity::kFailure,
                 fmt::format("listing {}: {}", access_.uri, page.error().to_string()),
                 "what answers there does not speak S3 as AWS does",
                 "check --endpoint-url"});
    return false;
  }
  const auto sample = std::ranges::find_if(
      page->objects, [](const storage::ObjectInfo& object) { return object.size_bytes > 0; });
  if (sample != page->objects.end()) sample_ = *sample;
  if (page->objects.empty() && use_.has_data) {
    report_.add(
        {id::kBucketList,
         Severity::kFailure,
         fmt::format("no key of the bucket {} begins with \"{}\"", access_.bucket, access_.prefix),
         "there is nothing to train on",
         fmt::format("aws s3 ls s3://{}/ shows what there is", access_.bucket)});
  } else {
    ok(id::kBucketList,
       page->objects.empty() ? access_.uri + " may be listed, and is empty"
                             : access_.uri + " may be listed");
  }
  return true;
}

void BucketTalk::look_at_region() {
  const std::string found = access_.region_found();
  if (!access_.is_aws || found == access_.region) return;
  if (access_.region.empty()) {
    report_.add({id::kBucketRegion,
                 found == "us-east-1" ? Severity::kOk : Severity::kNote,
                 fmt::format("{} is in {}, and no region is configured", access_.bucket, found),
                 found == "us-east-1" ? "" : "every client asks us-east-1 first",
                 found == "us-east-1" ? "" : "export AWS_REGION=" + found});
    return;
  }
  report_.add(
      {id::kBucketRegion,
       Severity::kWarning,
       fmt::format("{} is in {}, this configuration in {}", access_.bucket, found, access_.region),
       "every byte that crosses regions is slow and paid for",
       fmt::format(
           "train in {}, or aws s3 sync the data into a bucket in {}", found, access_.region)});
}

void BucketTalk::look_at_get() {
  if (!sample_) return;
  const std::string name = fmt::format("s3://{}/{}", access_.bucket, sample_->key);
  step(id::kBucketGet, "reading " + name);
  S3Request request;
  request.key = sample_->key;
  const uint64_t size = std::min(kRangeBytes, sample_->size_bytes);
  request.headers = {{"Range", fmt::format("bytes=0-{}", size - 1)}};
  const auto answer = ask(std::move(request));
  if (!answer) {
    fail_with(
        id::kBucketGet, answer.error(), "no picture can be read", "s3:GetObject", objects_arn());
  } else if (answer->status != 206 || answer->body_bytes != size) {
    report_.add({id::kBucketGet,
                 Severity::kFailure,
                 fmt::format("{}: asked for {} bytes, got {} (status {})",
                             name,
                             size,
                             answer->body_bytes,
                             answer->status),
                 "this server does not serve ranges, and everything is read by range",
                 "take a proxy out of the way, or another --endpoint-url"});
  } else {
    ok(id::kBucketGet, name + " may be read, by range");
  }
}

// Takes the probe away whatever comes in between: also when this check is told to stop.
void BucketTalk::look_at_writing() {
  if (!look_at_put()) return;
  look_at_conditions();
  look_at_multipart();
  look_at_delete();
}

bool BucketTalk::look_at_put() {
  const std::string name = fmt::format("s3://{}/{}", access_.bucket, key_);
  step(id::kBucketPut, "writing " + name);
  const auto answer = ask(put_request());
  if (!answer) {
    // A put whose answer was lost may have been carried out.
    if (answer.error().code != ErrorCode::kPermission) (void)remove_probe({});
    fail_with(id::kBucketPut,
              answer.error(),
              "neither checkpoints nor metrics can be written",
              "s3:PutObject",
              objects_arn());
    return false;
  }
  const std::string_view version = answer->header("x-amz-version-id");
  if (version.empty() || version == "null") {
    ok(id::kBucketPut, access_.uri + " may be written to");
    return true;
  }
  report_.add({id::kBucketPut,
               Severity::kNote,
               access_.uri + " may be written to, and keeps old versions",
               "checkpoints that a run has removed are still paid for",
               fmt::format("aws s3api put-bucket-lifecycle-configuration --bucket {} with "
                           "NoncurrentVersionExpiration",
                           access_.bucket)});
  return true;
}

void BucketTalk::look_at_conditions() {
  step(id::kBucketConditions, "writing with a condition to " + access_.uri);
  S3Request request = put_request();
  request.headers = {{"If-None-Match", "*"}};
  const auto answer = ask(std::move(request));
  if (!answer && answer.error().code == ErrorCode::kConflict) {
    return ok(id::kBucketConditions, "what is there already is not overwritten (If-None-Match)");
  }
  report_.add(
      {id::kBucketConditions,
       Severity::kWarning,
       answer ? fmt::format("{} ignores If-None-Match", access_.server)
              : without_hint(answer.error()),
       "a run's output cannot be claimed: two runs that are given one output write over each other",
       "give every run an output of its own"});
}

void BucketTalk::look_at_multipart() {
  step(id::kBucketMultipart, "beginning an upload in parts to " + access_.uri);
  S3Request request;
  request.method = "POST";
  request.key = key_;
  request.query = {{"uploads", ""}};
  const auto answer = ask(std::move(request));
  if (!answer) {
    return fail_with(id::kBucketMultipart,
                     answer.error(),
                     "checkpoints go up in parts",
                     "s3:PutObject",
                     objects_arn());
  }
  const auto upload = storage::parse_upload_id(answer->body);
  if (!upload) {
    report_.add({id::kBucketMultipart,
                 Severity::kFailure,
                 "beginning an upload in parts: " + upload.error().to_string(),
                 "checkpoints go up in parts",
                 "check --endpoint-url"});
    return;
  }
  const std::string mend =
      fmt::format("aws s3api abort-multipart-upload --bucket {} --key {} --upload-id {}",
                  shell_word(access_.bucket),
                  shell_word(key_),
                  shell_word(*upload));
  step(id::kBucketMultipart, "giving up an upload in parts to " + access_.uri, mend);
  S3Request abort;
  abort.method = "DELETE";
  abort.key = key_;
  abort.query = {{"uploadId", *upload}};
  // Not to be stopped: what is begun stays, and is paid for.
  const auto aborted = access_.perform(std::move(abort), {});
  if (aborted) return ok(id::kBucketMultipart, "uploads in parts can be begun and given up");
  Finding finding{id::kBucketMultipart,
                  Severity::kWarning,
                  without_hint(aborted.error()),
                  "the parts of uploads that fail stay, unseen and paid for",
                  mend};
  if (aborted.error().code == ErrorCode::kPermission) {
    finding.mend = fmt::format("add to the policy of these credentials: {}; then {}",
                               allow_statement("s3:AbortMultipartUpload", objects_arn()),
                               mend);
  }
  report_.add(std::move(finding));
}

void BucketTalk::look_at_delete() {
  const std::string mend =
      "aws s3 rm " + shell_word(fmt::format("s3://{}/{}", access_.bucket, key_));
  step(id::kBucketDelete, fmt::format("removing s3://{}/{}", access_.bucket, key_), mend);
  const auto removed = remove_probe({});
  if (removed) return ok(id::kBucketDelete, "the probe is removed again");
  Finding finding{id::kBucketDelete,
                  Severity::kFailure,
                  without_hint(removed.error()),
                  "old checkpoints and the claim on the output stay; so does the probe",
                  mend};
  if (removed.error().code == ErrorCode::kPermission) {
    finding.mend = fmt::format("add to the policy of these credentials: {}; then {}",
                               allow_statement("s3:DeleteObject", objects_arn()),
                               mend);
  }
  report_.add(std::move(finding));
}

}  // namespace

std::string make_probe_name(std::string_view host,
                            int64_t process,
                            std::chrono::system_clock::time_point now) {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch());
  return fmt::format("{}{}-{}-{}", kProbePrefix, host, process, since.count());
}

std::string allow_statement(std::string_view actions, std::string_view resource) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::string_view rest = actions; !rest.empty();) {
    const std::string_view action = rest.substr(0, rest.find(','));
    list.push_back(action);
    rest.remove_prefix(std::min(action.size() + 1, rest.size()));
  }
  const nlohmann::ordered_json statement = {
      {"Effect", "Allow"}, {"Action", list.size() == 1 ? list[0] : list}, {"Resource", resource}};
  return statement.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void check_bucket(const BucketAccess& access,
                  const BucketUse& use,
                  bool with_credentials,
                  Report& report,
                  const std::stop_token& stop) {
  BucketTalk(access, use, report, stop).run(with_credentials);
}

Check bucket_check(std::shared_ptr<const BucketAccess> access,
                   BucketUse use,
                   bool with_credentials) {
  Step first{id::kBucket, "asking " + access->uri};
  return {std::move(first),
          [access = std::move(access), use = std::move(use), with_credentials](
              Report& report, const std::stop_token& stop) {
            check_bucket(*access, use, with_credentials, report, stop);
          }};
}

}  // namespace atl::doctor
