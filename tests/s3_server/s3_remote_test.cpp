// The S3 client against a server that somebody else wrote and that verifies every signature.
#include "storage/s3/s3_remote.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "s3_server.h"

namespace atl::storage {
namespace {

using testing::HasSubstr;

std::string content_of(size_t size, uint64_t seed = 1) {
  std::string content(size, '\0');
  uint64_t x = seed;
  for (char& c : content) {
    x = x * 6364136223846793005 + 1442695040888963407;
    c = static_cast<char>(x >> 56);
  }
  return content;
}

Blob blob(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

Result<ObjectInfo> put(Remote& remote,
                       std::string_view key,
                       std::string_view content,
                       const UploadOptions& options = {}) {
  return remote.upload(key, upload_source(blob(content)), options);
}

std::string read_all(Remote& remote, const std::string& key) {
  const auto range = remote.read({key, 0, uint64_t{64} << 20, {}});
  return range ? std::string(range->bytes.text()) : range.error().to_string();
}

std::vector<std::string> list_all(Remote& remote, std::string_view prefix = {}) {
  std::vector<std::string> keys;
  std::string next;
  do {
    const auto page = remote.list_page(prefix, next);
    EXPECT_TRUE(page.has_value()) << page.error().to_string();
    if (!page) break;
    for (const ObjectInfo& object : page->objects) keys.push_back(object.key);
    next = page->next;
  } while (!next.empty());
  return keys;
}

TEST_F(S3ServerTest, what_is_put_is_read_back_with_its_metadata) {
  const auto bucket = remote();
  UploadOptions options;
  options.metadata = {{"file-permissions", "0100664"}, {"file-mtime", "1764171234567890123ns"}};
  options.content_type = "image/jpeg";
  const auto info = put(*bucket, "a/b.jpg", "some bytes", options);
  ASSERT_TRUE(info.has_value()) << info.error().to_string();
  EXPECT_EQ(info->key, "a/b.jpg");
  EXPECT_EQ(info->size_bytes, 10u);

  const auto there = bucket->stat("a/b.jpg");
  ASSERT_TRUE(there.has_value()) << there.error().to_string();
  EXPECT_EQ(there->info.etag, info->etag);
  EXPECT_EQ(there->info.size_bytes, 10u);
  EXPECT_EQ(there->metadata, options.metadata);
  EXPECT_LT(std::chrono::abs(there->info.modified - info->modified), std::chrono::seconds(5));

  const auto range = bucket->read({"a/b.jpg", 5, 100, info->etag});
  ASSERT_TRUE(range.has_value()) << range.error().to_string();
  EXPECT_EQ(range->bytes.text(), "bytes");
  EXPECT_EQ(range->info.size_bytes, 10u);
  EXPECT_EQ(range->info.etag, info->etag);
}

TEST_F(S3ServerTest, a_range_past_the_end_gives_no_bytes_and_an_empty_object_can_be_read) {
  const auto bucket = remote();
  ASSERT_TRUE(put(*bucket, "short", "12345").has_value());
  ASSERT_TRUE(put(*bucket, "empty", "").has_value());
  for (const auto& [key, offset, size] :
       {std::tuple("short", 5, 5), std::tuple("short", 1000, 5), std::tuple("empty", 0, 0)}) {
    const auto range = bucket->read({key, static_cast<uint64_t>(offset), 10, {}});
    ASSERT_TRUE(range.has_value()) << range.error().to_string();
    EXPECT_EQ(range->bytes.size(), 0u);
    EXPECT_EQ(range->info.size_bytes, static_cast<uint64_t>(size));
    EXPECT_FALSE(range->info.etag.empty());
  }
}

TEST_F(S3ServerTest, a_changed_object_is_a_conflict_for_who_reads_the_old_one) {
  const auto bucket = remote();
  const auto old = put(*bucket, "x", "old");
  ASSERT_TRUE(old.has_value());
  ASSERT_TRUE(put(*bucket, "x", "new").has_value());
  for (const uint64_t offset : {0, 1000}) {
    const auto range = bucket->read({"x", offset, 3, old->etag});
    ASSERT_FALSE(range.has_value());
    EXPECT_EQ(range.error().code, ErrorCode::kConflict) << range.error().to_string();
    EXPECT_THAT(range.error().to_string(), HasSubstr("s3://" + bucket_ + "/x"));
  }
}

TEST_F(S3ServerTest, conditions_of_an_upload_are_kept) {
  const auto bucket = remote();
  UploadOptions create;
  create.if_absent = true;
  const auto first = put(*bucket, "x", "first", create);
  ASSERT_TRUE(first.has_value()) << first.error().to_string();
  const auto again = put(*bucket, "x", "again", create);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  UploadOptions replace;
  replace.if_match = first->etag;
  const auto second = put(*bucket, "x", "second", replace);
  ASSERT_TRUE(second.has_value()) << second.error().to_string();
  const auto late = put(*bucket, "x", "third", replace);
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code, ErrorCode::kConflict);
  EXPECT_EQ(read_all(*bucket, "x"), "second");
}

TEST_F(S3ServerTest, what_is_not_there_is_not_found) {
  const auto bucket = remote();
  EXPECT_EQ(bucket->stat("none").error().code, ErrorCode::kNotFound);
  const auto range = bucket->read({"none", 0, 10, {}});
  EXPECT_EQ(range.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(range.error().to_string(), HasSubstr("s3://" + bucket_ + "/none"));
  EXPECT_EQ(list_all(*bucket, "none").size(), 0u);
  EXPECT_TRUE(bucket->remove(std::vector<std::string>{"none"}).has_value());
}

TEST_F(S3ServerTest, refusals_say_what_to_check) {
  ASSERT_TRUE(put(*remote(), "x", "mine").has_value());
  Credentials wrong_secret = server_->user;
  wrong_secret.secret_access_key += "x";
  Credentials unknown = server_->user;
  unknown.access_key_id = "nobody";
  const std::vector<std::pair<std::optional<Credentials>, std::string>> cases = {
      {server_->other_user, "s3:GetObject"},
      {wrong_secret, "secret key"},
      {unknown, "access key"},
      {std::nullopt, "unsigned"},
  };
  for (const auto& [credentials, hint] : cases) {
    const auto range = make_s3_remote(client(credentials), "")->read({"x", 0, 10, {}});
    ASSERT_FALSE(range.has_value());
    EXPECT_EQ(range.error().code, ErrorCode::kPermission) << range.error().to_string();
    EXPECT_THAT(range.error().hint, HasSubstr(hint)) << range.error().to_string();
  }
  EXPECT_EQ(make_s3_remote(client(wrong_secret), "")->list_page("", "").error().code,
            ErrorCode::kPermission);
}

TEST_F(S3ServerTest, a_wrong_clock_is_set_by_the_servers) {
  S3ClientOptions options;
  options.now = [] { return std::chrono::system_clock::now() - std::chrono::hours(3); };
  const auto late = client(server_->user, options);
  const auto bucket = make_s3_remote(late, "");
  ASSERT_TRUE(put(*bucket, "x", "content").has_value());
  EXPECT_EQ(read_all(*bucket, "x"), "content");
  EXPECT_LT(std::chrono::abs(late->now() - std::chrono::system_clock::now()),
            std::chrono::minutes(1));
  const auto stats = make_s3_remote(client(server_->user, options), "")->stat("x");
  EXPECT_TRUE(stats.has_value()) << stats.error().to_string();
}

TEST_F(S3ServerTest, hard_keys_are_written_listed_read_copied_and_removed) {
  const std::vector<std::string> keys = {
      "a b+c",
      "a//b",
      "//",
      "/lead",
      "dir/",
      "a/../b",
      "../x",
      "./y",
      "..",
      ".",
      "%2F%",
      "a?b=c&d#e",
      "~!@$&'()*;:=,",
      "ümlaut/日本語/🙂",
      "new\nline",
      "tab\t",
      "quote\"<&>",
      "cr\rlf",
      "trail ",
      " lead",
      std::string(1024, 'k'),
      "back\\slash",
      "a=b",
      "{}[]|^`",
  };
  const auto bucket = remote();
  std::set<std::string> wanted;
  for (const std::string& key : keys) {
    const auto info = put(*bucket, key, "content of " + key);
    ASSERT_TRUE(info.has_value()) << info.error().to_string();
    EXPECT_EQ(read_all(*bucket, key), "content of " + key);
    wanted.insert(key);
  }
  const auto listed = list_all(*bucket);
  EXPECT_EQ(std::set<std::string>(listed.begin(), listed.end()), wanted);
  EXPECT_TRUE(std::is_sorted(listed.begin(), listed.end()));
  for (const std::string& key : keys) {
    const std::string copy = key.size() > 1000 ? "copy" : key + ".copy";
    const auto copied = bucket->copy(key, copy, {});
    ASSERT_TRUE(copied.has_value()) << copied.error().to_string();
    EXPECT_EQ(read_all(*bucket, copy), "content of " + key);
  }
  const auto all = list_all(*bucket);
  EXPECT_EQ(all.size(), 2 * keys.size());
  const auto removed = bucket->remove(all);
  EXPECT_TRUE(removed.has_value()) << removed.error().to_string();
  EXPECT_THAT(list_all(*bucket), testing::IsEmpty());
}

TEST_F(S3ServerTest, a_listing_comes_in_pages_and_begins_where_it_is_told) {
  const auto bucket = remote("some/where/");
  std::vector<std::string> keys;
  for (int i = 0; i < 2345; ++i) keys.push_back(fmt::format("k/{:05}", i));
  {
    const auto uploader = client(server_->user);
    S3Requests requests(*uploader, 32, {});
    for (const std::string& key : keys) {
      ASSERT_TRUE(requests.wait_for_place());
      S3Request request;
      request.method = "PUT";
      request.key = "some/where/" + key;
      requests.send(request, [](const HttpResponse&) -> Result<void> { return {}; });
    }
    ASSERT_TRUE(requests.wait().has_value());
  }
  ASSERT_TRUE(put(*remote(), "elsewhere", "x").has_value());
  EXPECT_EQ(list_all(*bucket), keys);
  EXPECT_EQ(list_all(*bucket, "k/0001").size(), 10u);
  const auto page = bucket->list_page("", "", "k/01999");
  ASSERT_TRUE(page.has_value()) << page.error().to_string();
  ASSERT_EQ(page->objects.size(), 345u);
  EXPECT_EQ(page->objects[0].key, "k/02000");
  EXPECT_EQ(page->next, "");
  const auto removed = bucket->remove(keys);
  EXPECT_TRUE(removed.has_value()) << removed.error().to_string();
  EXPECT_THAT(list_all(*remote()), testing::ElementsAre("elsewhere"));
}

TEST_F(S3ServerTest, a_large_object_goes_up_in_parts_and_comes_down_in_ranges) {
  S3TransferOptions transfer;
  transfer.one_put_bytes = 1 << 20;
  transfer.part_bytes = 5 << 20;
  const auto bucket = remote("", transfer);
  const std::string content = content_of((22 << 20) + 12345);
  UploadOptions options;
  options.metadata = {{"file-owner", "1000"}};
  const auto info = put(*bucket, "large", content, options);
  ASSERT_TRUE(info.has_value()) << info.error().to_string();
  const auto there = bucket->stat("large");
  ASSERT_TRUE(there.has_value());
  EXPECT_EQ(there->info.etag, info->etag);
  EXPECT_THAT(info->etag, HasSubstr("-5"));
  EXPECT_EQ(there->metadata, options.metadata);
  std::string read;
  while (read.size() < content.size()) {
    const auto range = bucket->read({"large", read.size(), 8 << 20, info->etag});
    ASSERT_TRUE(range.has_value()) << range.error().to_string();
    read += range->bytes.text();
  }
  EXPECT_TRUE(read == content);

  UploadOptions create;
  create.if_absent = true;
  EXPECT_EQ(put(*bucket, "large", content, create).error().code, ErrorCode::kConflict);
}

TEST_F(S3ServerTest, an_upload_that_fails_leaves_nothing) {
  S3TransferOptions transfer;
  transfer.one_put_bytes = 1 << 20;
  transfer.part_bytes = 5 << 20;
  const auto bucket = remote("", transfer);
  UploadSource source;
  source.size_bytes = 30 << 20;
  source.read = [](uint64_t offset, uint64_t size) -> Result<Blob> {
    if (offset >= 20 << 20) return fail(ErrorCode::kIo, "the disk is broken");
    return blob(content_of(size));
  };
  const auto failed = bucket->upload("broken", source, {});
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().to_string(), HasSubstr("the disk is broken"));

  std::stop_source stop;
  UploadOptions options;
  options.stop = stop.get_token();
  source.read = [&stop](uint64_t offset, uint64_t size) -> Result<Blob> {
    if (offset >= 10 << 20) stop.request_stop();
    return blob(content_of(size));
  };
  const auto stopped = bucket->upload("stopped", source, options);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled) << stopped.error().to_string();

  EXPECT_THAT(list_all(*bucket), testing::IsEmpty());
  S3Request uploads;
  uploads.query = {{"uploads", ""}};
  const auto left = client(server_->user)->perform(uploads).response;
  ASSERT_TRUE(left.has_value());
  EXPECT_THAT(left->body, testing::Not(HasSubstr("<Upload>")));
}

TEST_F(S3ServerTest, a_copy_takes_new_metadata_also_in_parts) {
  S3TransferOptions transfer;
  transfer.one_copy_bytes = 10 << 20;
  transfer.copy_part_bytes = 5 << 20;
  const auto bucket = remote("p/", transfer);
  const std::string large = content_of(13 << 20);
  const Metadata metadata = {{"file-permissions", "0100600"}};
  UploadOptions options;
  options.content_type = "image/png";
  ASSERT_TRUE(put(*bucket, "large", large, options).has_value());
  const auto small = put(*bucket, "small", "small", options);
  ASSERT_TRUE(small.has_value());
  for (const auto& [from, to] :
       {std::pair("large", "large2"), std::pair("small", "small2"), std::pair("small", "small")}) {
    const auto copied = bucket->copy(from, to, metadata);
    ASSERT_TRUE(copied.has_value()) << copied.error().to_string();
    const auto there = bucket->stat(to);
    ASSERT_TRUE(there.has_value()) << there.error().to_string();
    EXPECT_EQ(there->info.etag, copied->etag);
    EXPECT_EQ(there->metadata, metadata);
    const auto head = head_object(*client(server_->user), std::string("p/") + to);
    EXPECT_EQ(head->content_type, "image/png");
  }
  EXPECT_TRUE(read_all(*bucket, "large2") == large);
  EXPECT_EQ(bucket->copy("small", "y", {}, "\"another\"").error().code, ErrorCode::kConflict);
  EXPECT_EQ(bucket->copy("none", "y", {}).error().code, ErrorCode::kNotFound);
}

TEST_F(S3ServerTest, a_bucket_that_is_not_there_is_named) {
  bucket_ = "no-such-bucket";
  const auto listed = remote()->list_page("", "");
  ASSERT_FALSE(listed.has_value());
  EXPECT_EQ(listed.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(listed.error().to_string(), HasSubstr("no-such-bucket"));
  EXPECT_THAT(listed.error().hint, HasSubstr("bucket"));
}

}  // namespace
}  // namespace atl::storage
