#include "cli/fs_target.h"

#include <fmt/format.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "base/check.h"
#include "base/utf8.h"
#include "cli/fs_bucket.h"
#include "fs/control_socket.h"
#include "fs/mount_point.h"
#include "fs/mount_session.h"

namespace atl::cli {
namespace {

constexpr std::string_view kScheme = "s3://";
constexpr size_t kMostPathBytes = 4096;

tl::unexpected<Error> dead(const std::string& mount_point) {
  return fail(ErrorCode::kIo,
              fmt::format("the daemon of {} is dead", mount_point),
              fmt::format("\"atoll fs mount\" again heals it, \"atoll fs umount {}\" takes it away",
                          mount_point));
}

// How many bytes from here on are one character of valid UTF-8 that can be shown; 0: none.
size_t character_bytes(std::string_view text) {
  const auto [bytes, code] = first_character(text);
  const bool is_control = code < 0x20 || (code >= 0x7F && code < 0xA0);
  return is_control ? 0 : bytes;
}

}  // namespace

std::string shown_name(std::string_view name) {
  std::string shown;
  while (!name.empty()) {
    const size_t length = character_bytes(name);
    if (name[0] == '\\') {
      shown += "\\\\";
    } else if (name[0] == '\n') {
      shown += "\\n";
    } else if (length > 0) {
      shown += name.substr(0, length);
    } else {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(name[0]));
    }
    name.remove_prefix(std::max<size_t>(length, 1));
  }
  return shown;
}

bool is_bucket_uri(std::string_view text) { return text.starts_with(kScheme); }

Result<std::string> state_of_mount(const std::string& mount_point) {
  std::string value(kMostPathBytes, '\0');
  const ssize_t size = ::getxattr(mount_point.c_str(), fs::kStateXattr, value.data(), value.size());
  if (size < 0 && (errno == ENOTCONN || errno == ECONNABORTED)) return dead(mount_point);
  if (size < 0) return fail_errno(fmt::format("asking {} for its state", mount_point), errno);
  value.resize(static_cast<size_t>(size));
  return value;
}

Result<FsTarget> find_target(const std::string& text) {
  if (is_bucket_uri(text)) return FsTarget{.uri = text};
  // Before the path is looked at: below a dead mount nothing can be.
  const auto mounts = ATOLL_TRY(fs::mounts());
  const auto absolute = fs::absolute_path(text);
  if (!absolute) {
    for (const fs::Mount& mount : mounts) {
      const bool above = text.starts_with(mount.point + "/");
      if (above && mount.type == fs::kMountType && fs::is_dead(mount.point))
        return dead(mount.point);
    }
    return tl::unexpected(absolute.error());
  }
  const auto mount = fs::mount_of(mounts, *absolute);
  if (!mount || mount->type != fs::kMountType) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} lies in no mount of Atoll's", text),
                "\"atoll fs status\" lists them; a bucket is named by s3://BUCKET/PREFIX");
  }
  FsTarget target{.mount_point = mount->point};
  target.state_directory = ATOLL_TRY(state_of_mount(mount->point));
  if (absolute->size() > mount->point.size())
    target.path = absolute->substr(mount->point.size() + 1);
  return target;
}

Result<fs::ControlReply> run_request(const FsTarget& target,
                                     const fs::ControlRequest& request,
                                     const fs::MountSettings& settings,
                                     const std::stop_token& stop,
                                     const std::function<void(const fs::ControlReply&)>& reply) {
  fs::ControlReply last = fs::error_reply({ErrorCode::kIo, "there was no answer", "", {}});
  const fs::OnReply keep = [&](const fs::ControlReply& message) {
    if (message.kind == fs::ControlReply::Kind::kDone ||
        message.kind == fs::ControlReply::Kind::kError) {
      last = message;
    } else {
      reply(message);
    }
    return true;
  };
  std::string directory = target.state_directory;
  std::optional<storage::Bucket> bucket;
  if (directory.empty()) {
    bucket = ATOLL_TRY(open_bucket(target.uri));
    directory = ATOLL_TRY(state_directory(*bucket, settings));
  }
  if (!ATOLL_TRY(fs::ask_daemon(directory, request, stop, keep))) {
    if (!bucket) return dead(target.mount_point);
    const auto layer =
        ATOLL_TRY(open_layer(*bucket, directory, settings, [](std::string_view line) {
          fmt::print(stderr, "{}\n", line);
        }));
    fs::perform(*layer, request, stop, keep);
  }
  if (last.kind == fs::ControlReply::Kind::kError) return tl::unexpected(last.error);
  return last;
}

}  // namespace atl::cli
