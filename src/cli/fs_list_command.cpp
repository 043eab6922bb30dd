// atoll fs ls and cat: a bucket looked at without a mount, by requests of its own.
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <deque>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "cli/command.h"
#include "cli/fs_bucket.h"
#include "cli/fs_target.h"

namespace atl::cli {
namespace {

using nlohmann::ordered_json;
using storage::ObjectInfo;

constexpr const char* kLsFooter =
    "Directories end in '/'. Names show control characters, backslashes and bytes that are no "
    "UTF-8 as \\n,\n"
    "\\\\, \\xff.\n"
    "\n"
    "Examples:\n"
    "  atoll fs ls s3://bucket\n"
    "  atoll fs ls s3://bucket/coco/annotations --long\n"
    "  atoll fs ls s3://bucket/coco --recursive --json";

constexpr const char* kCatFooter =
    "Several parts of an object are on their way at a time; all are of one version, or it is an "
    "error.\n"
    "\n"
    "Examples:\n"
    "  atoll fs cat s3://bucket/coco/README.md\n"
    "  atoll fs cat s3://bucket/runs/a/metrics.jsonl s3://bucket/runs/b/metrics.jsonl > both.jsonl";

// The last character of Unicode in UTF-8: behind "a/" + this lies, but for hostile keys, no key below "a/".
constexpr std::string_view kLastCharacter = "\xf4\x8f\xbf\xbf";
constexpr uint64_t kPart_bytes = uint64_t{8} << 20;
constexpr size_t kParts = 6;  // at a time

struct ListCommand {
  std::string uri;
  bool recursive = false;
  bool detailed = false;
  bool json = false;
};

std::string time_text(std::chrono::system_clock::time_point time) {
  const time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                     parts.tm_year + 1900,
                     parts.tm_mon + 1,
                     parts.tm_mday,
                     parts.tm_hour,
                     parts.tm_min,
                     parts.tm_sec);
}

void print_object(const ListCommand& command, std::string_view name, const ObjectInfo& info) {
  if (command.json) {
    const ordered_json object = {{"name", shown_name(name)},
                                 {"size_bytes", info.size_bytes},
                                 {"modified", time_text(info.modified)},
                                 {"etag", shown_name(info.etag)}};
    fmt::print("{}\n", object.dump());
  } else if (command.detailed) {
    fmt::print("{:>10}  {}  {}\n",
               format_bytes(info.size_bytes),
               time_text(info.modified),
               shown_name(name));
  } else {
    fmt::print("{}\n", shown_name(name));
  }
}

void print_directory(const ListCommand& command, std::string_view name) {
  if (command.json) {
    fmt::print("{}\n", ordered_json{{"name", shown_name(name)}, {"directory", true}}.dump());
  } else if (command.detailed) {
    fmt::print("{:>10}  {:20}  {}\n", "", "", shown_name(name));
  } else {
    fmt::print("{}\n", shown_name(name));
  }
}

// What lies directly below the prefix: one request for 1,000 names and one for each directory, for
// behind each directory the listing begins anew.
Result<uint64_t> list_children(storage::Remote& bucket,
                               const std::string& prefix,
                               const ListCommand& command,
                               const std::stop_token& stop) {
  uint64_t shown = 0;
  std::string next, after;
  for (;;) {
    if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped");
    const auto page = ATOLL_TRY(bucket.list_page(prefix, next, after));
    next = page.next;
    after.clear();
    for (const ObjectInfo& info : page.objects) {
      const std::string_view name = std::string_view(info.key).substr(prefix.size());
      const size_t slash = command.recursive ? std::string_view::npos : name.find('/');
      if (slash != std::string_view::npos) {
        const std::string_view directory = name.substr(0, slash + 1);
        print_directory(command, directory);
        ++shown;
        after = fmt::format("{}{}{}", prefix, directory, kLastCharacter);
        break;
      }
      // The object of the directory itself has no name in it.
      if (!name.empty()) print_object(command, name, info);
      ++shown;
    }
    if (!after.empty()) {
      next.clear();
    } else if (next.empty()) {
      return shown;
    }
  }
}

struct BucketKey {
  storage::Bucket bucket;
  std::string key;
};

// The bucket as a whole and the key in it.
Result<BucketKey> open_key(const std::string& uri) {
  constexpr size_t kScheme = 5;  // "s3://"
  if (!is_bucket_uri(uri)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("{} is no s3:// URI", uri),
                "files below a mount are for ls and cat themselves");
  }
  const size_t slash = std::min(uri.find('/', kScheme), uri.size());
  BucketKey opened{ATOLL_TRY(open_bucket(uri.substr(0, slash))), ""};
  if (slash < uri.size()) opened.key = uri.substr(slash + 1);
  return opened;
}

Result<int> run_ls(const ListCommand& command, CommandContext& context) {
  const auto stop = context.stop("stopping");
  const auto [bucket, key] = ATOLL_TRY(open_key(command.uri));
  const std::string prefix = key.empty() || key.ends_with('/') ? key : key + "/";
  if (ATOLL_TRY(list_children(*bucket.remote, prefix, command, stop)) > 0 || key.empty()) return 0;
  // No directory: then it is to be an object.
  const auto object = bucket.remote->stat(key);
  if (!object && object.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound, fmt::format("there is nothing at {}", command.uri));
  }
  print_object(command, key.substr(key.rfind('/') + 1), ATOLL_TRY(object).info);
  return 0;
}

struct CatCommand {
  std::vector<std::string> uris;
};

using Part = std::future<Result<storage::RangeBytes>>;

Part fetch(storage::Remote& bucket, const ObjectInfo& info, uint64_t offset) {
  auto promise = std::make_shared<std::promise<Result<storage::RangeBytes>>>();
  Part part = promise->get_future();
  bucket.read_async(
      {info.key, offset, kPart_bytes, info.etag},
      [promise](Result<storage::RangeBytes> bytes) { promise->set_value(std::move(bytes)); });
  return part;
}

Result<void> copy_out(storage::Remote& bucket,
                      const ObjectInfo& info,
                      const std::stop_token& stop) {
  std::deque<Part> parts;
  uint64_t asked = 0;
  uint64_t written = 0;
  while (written < info.size_bytes) {
    if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped");
    for (; asked < info.size_bytes && parts.size() < kParts; asked += kPart_bytes) {
      parts.push_back(fetch(bucket, info, asked));
    }
    const auto part = ATOLL_TRY(parts.front().get());
    parts.pop_front();
    const std::string_view text = part.bytes.text();
    if (text.empty()) return fail(ErrorCode::kCorrupt, fmt::format("{} ended early", info.key));
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
      return fail_errno("writing to standard output", errno);
    }
    written += text.size();
  }
  return {};
}

Result<int> run_cat(const CatCommand& command, CommandContext& context) {
  const auto stop = context.stop("stopping");
  for (const std::string& uri : command.uris) {
    const auto [bucket, key] = ATOLL_TRY(open_key(uri));
    if (key.empty()) return fail(ErrorCode::kInvalidInput, fmt::format("{} names no object", uri));
    const auto object = ATOLL_TRY(bucket.remote->stat(key));
    ATOLL_TRY(copy_out(*bucket.remote, object.info, stop));
  }
  return 0;
}

}  // namespace

void add_fs_ls(CLI::App& fs, CommandContext& context) {
  CLI::App* ls = fs.add_subcommand("ls", "List a bucket that is not mounted");
  const auto command = std::make_shared<ListCommand>();
  ls->add_option("URI", command->uri, "s3://BUCKET/PREFIX")->required()->type_name("");
  ls->add_flag("--recursive,-R", command->recursive, "Everything below, with its whole key");
  ls->add_flag("--long,-l", command->detailed, "With sizes and times");
  ls->add_flag("--json", command->json, "Print JSON, one object a line, instead of text");
  ls->footer(kLsFooter);
  context.on_run(ls, [command, &context] { return run_ls(*command, context); });
}

void add_fs_cat(CLI::App& fs, CommandContext& context) {
  CLI::App* cat = fs.add_subcommand("cat", "Write objects to standard output");
  const auto command = std::make_shared<CatCommand>();
  cat->add_option("URI", command->uris, "s3://BUCKET/KEY")->required()->type_name("");
  cat->footer(kCatFooter);
  context.on_run(cat, [command, &context] { return run_cat(*command, context); });
}

}  // namespace atl::cli
