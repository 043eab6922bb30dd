#include "storage/storage.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <cctype>
#include <cerrno>

#include "storage/key.h"
#include "storage/local_store.h"
#include "storage/open_s3.h"

namespace atl::storage {
namespace {

// The probe of a directory that is to be written: large enough that a full disk has no room for it
// in the slack of something else.
constexpr size_t kProbeBytes = 64 << 10;
constexpr std::string_view kProbeKey = "atoll-write-probe";

Result<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size() || std::isxdigit(static_cast<unsigned char>(text[i + 1])) == 0 ||
        std::isxdigit(static_cast<unsigned char>(text[i + 2])) == 0) {
      return fail(ErrorCode::kInvalidInput,
                  fmt::format("\"{}\": a '%' without two hexadecimal digits", text),
                  "write %25 for the character itself");
    }
    decoded += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
    i += 2;
  }
  return decoded;
}

// A path as it is, a file: URI without its scheme, or why it is neither.
Result<std::string> local_path(std::string_view uri) {
  if (uri.empty()) return fail(ErrorCode::kInvalidInput, "an empty path", "name a directory");
  const size_t colon = uri.find("://");
  std::string path(uri);
  if (colon != std::string_view::npos && uri.find('/') == colon + 1) {
    const std::string_view scheme = uri.substr(0, colon);
    if (scheme != "file") {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: no store for {}://", uri, scheme),
                  "name a local directory, s3://BUCKET/PREFIX or a file:/// URI");
    }
    path = ATOLL_TRY(percent_decoded(uri.substr(colon + 3)));
    if (!path.starts_with('/')) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: a file URI with a host name", uri),
                  "write file:///DIR, with three slashes");
    }
  }
  if (path.find('\0') != std::string::npos) {
    return fail(ErrorCode::kInvalidInput, "a path with a NUL byte", "name a directory");
  }
  return path;
}

Result<void> probe_for_writing(ObjectStore& store) {
  static constexpr std::array<std::byte, kProbeBytes> kProbe{};
  const std::span<const std::byte> part(kProbe);
  ATOLL_TRY(store.put(kProbeKey, std::span(&part, 1)));
  return store.remove(kProbeKey);
}

}  // namespace

Blob::Blob(std::vector<std::byte> bytes) {
  auto owner = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  bytes_ = *owner;
  owner_ = std::move(owner);
}

Result<std::unique_ptr<ObjectStore>> open_store(std::string_view uri, bool for_writing) {
  if (is_s3_uri(uri)) {
    auto bucket = ATOLL_TRY(open_s3_store(uri));
    if (for_writing) ATOLL_TRY(probe_for_writing(*bucket));
    return bucket;
  }
  const std::string path = ATOLL_TRY(local_path(uri));
  struct stat status;
  if (::stat(path.c_str(), &status) == 0) {
    if (!S_ISDIR(status.st_mode)) {
      return fail(ErrorCode::kInvalidInput, path + " is not a directory", "name a directory");
    }
  } else if (errno != ENOENT && !(errno == ENOTDIR && for_writing)) {
    return fail_errno("opening " + path, errno);
  }
  auto store = std::make_unique<LocalStore>(path);
  if (for_writing) {
    ATOLL_TRY(make_directories(path));
    ATOLL_TRY(probe_for_writing(*store));
  }
  return store;
}

Result<Location> open_location(std::string_view uri) {
  if (is_s3_uri(uri)) return open_s3_location(uri);
  const std::string path = ATOLL_TRY(local_path(uri));
  const size_t slash = path.rfind('/');
  std::string key = path.substr(slash + 1);  // npos + 1 is 0
  if (key.empty() || key == "." || key == "..") {
    return fail(ErrorCode::kInvalidInput, path + " is a directory", "name a file in it");
  }
  ATOLL_TRY(check_key(key));
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  return Location{std::make_unique<LocalStore>(directory), std::move(key)};
}

Result<void> put_text(ObjectStore& store, std::string_view key, std::string_view text) {
  const auto part = std::as_bytes(std::span(text));
  return store.put(key, std::span(&part, 1));
}

}  // namespace atl::storage
