#include "storage/shared_records.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <random>

#include "storage/key.h"
#include "storage/local_store.h"
#include "storage/open_s3.h"

namespace atl::storage {
namespace {

Blob blob_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

class DirectoryRecords : public SharedRecords {
 public:
  explicit DirectoryRecords(std::string root) : store_(std::move(root)) {}

  std::string uri() const override { return store_.uri(); }

  // A second name for a file that is whole: link() fails where the name is taken, for all but one.
  Result<bool> create(std::string_view key, std::string_view text) override {
    ATOLL_TRY(check_key(key));
    std::random_device random;
    const std::string draft = fmt::format("draft-{}-{:08x}{:08x}", ::getpid(), random(), random());
    ATOLL_TRY(put_text(store_, draft, text));
    const int linked = ::link(path_of(draft).c_str(), path_of(key).c_str());
    const int error_number = errno;
    ATOLL_TRY(store_.remove(draft));
    if (linked == 0) return true;
    if (error_number == EEXIST) return false;
    return fail_errno("making " + path_of(key), error_number);
  }
  Result<void> replace(std::string_view key, std::string_view text) override {
    return put_text(store_, key, text);
  }
  Result<std::optional<std::string>> read(std::string_view key) override {
    auto found = store_.get_range(key, 0, kMaxRecordBytes);
    if (found) return std::string(found->text());
    if (found.error().code == ErrorCode::kNotFound) return std::nullopt;
    return tl::unexpected(std::move(found).error());
  }
  Result<std::vector<std::string>> keys(std::string_view prefix) override {
    std::vector<std::string> found;
    ATOLL_TRY(store_.list(prefix, [&](const ObjectInfo& info) {
      found.push_back(info.key);
      return true;
    }));
    return found;
  }
  Result<void> remove(std::string_view key) override { return store_.remove(key); }

 private:
  std::string path_of(std::string_view key) const {
    return fmt::format("{}/{}", store_.uri(), key);
  }

  LocalStore store_;
};

class BucketRecords : public SharedRecords {
 public:
  explicit BucketRecords(std::shared_ptr<Remote> remote) : remote_(std::move(remote)) {}

  std::string uri() const override { return remote_->uri(); }

  Result<bool> create(std::string_view key, std::string_view text) override {
    ATOLL_TRY(check_key(key));
    const auto put = remote_->upload(key, upload_source(blob_of(text)), {.if_absent = true});
    if (put) return true;
    if (put.error().code == ErrorCode::kConflict) return false;
    return tl::unexpected(put.error());
  }
  Result<void> replace(std::string_view key, std::string_view text) override {
    ATOLL_TRY(check_key(key));
    ATOLL_TRY(remote_->upload(key, upload_source(blob_of(text)), {}));
    return {};
  }
  Result<std::optional<std::string>> read(std::string_view key) override {
    ATOLL_TRY(check_key(key));
    auto found = remote_->read({.key = std::string(key), .size_bytes = kMaxRecordBytes});
    if (found) return std::string(found->bytes.text());
    if (found.error().code == ErrorCode::kNotFound) return std::nullopt;
    return tl::unexpected(std::move(found).error());
  }
  Result<std::vector<std::string>> keys(std::string_view prefix) override {
    ATOLL_TRY(check_prefix(prefix));
    std::vector<std::string> found;
    std::string next;
    do {
      ListPage page = ATOLL_TRY(remote_->list_page(prefix, next));
      for (ObjectInfo& object : page.objects) found.push_back(std::move(object.key));
      next = std::move(page.next);
    } while (!next.empty());
    return found;
  }
  Result<void> remove(std::string_view key) override {
    ATOLL_TRY(check_key(key));
    const std::string name(key);
    return remote_->remove(std::span(&name, 1));
  }

 private:
  const std::shared_ptr<Remote> remote_;
};

}  // namespace

std::unique_ptr<SharedRecords> records_in(std::shared_ptr<Remote> remote) {
  return std::make_unique<BucketRecords>(std::move(remote));
}

Result<std::unique_ptr<SharedRecords>> open_shared_records(std::string_view uri,
                                                           std::chrono::milliseconds patience) {
  if (is_s3_uri(uri)) return records_in(ATOLL_TRY(open_impatient_remote(uri, patience)));
  const auto store = ATOLL_TRY(open_store(uri, /*for_writing=*/true));
  return std::make_unique<DirectoryRecords>(store->uri());
}

}  // namespace atl::storage
