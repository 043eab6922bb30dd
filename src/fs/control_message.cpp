#include "fs/control_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"

namespace atl::fs {
namespace {

using nlohmann::json;

constexpr size_t kMaxPathBytes = 4096;
constexpr int kByteBits = 8;

struct CommandName {
  ControlCommand command;
  std::string_view name;
};
constexpr std::array<CommandName, 7> kCommands = {{{ControlCommand::kInfo, "info"},
                                                   {ControlCommand::kStatus, "status"},
                                                   {ControlCommand::kPreload, "preload"},
                                                   {ControlCommand::kRelease, "release"},
                                                   {ControlCommand::kExport, "export"},
                                                   {ControlCommand::kImport, "import"},
                                                   {ControlCommand::kUnmount, "unmount"}}};

constexpr std::array<std::pair<ErrorCode, std::string_view>, 10> kCodes = {{
    {ErrorCode::kInvalidInput, "invalid_input"},
    {ErrorCode::kNotFound, "not_found"},
    {ErrorCode::kPermission, "permission"},
    {ErrorCode::kConflict, "conflict"},
    {ErrorCode::kIo, "io"},
    {ErrorCode::kCorrupt, "corrupt"},
    {ErrorCode::kInconsistent, "inconsistent"},
    {ErrorCode::kUnsupported, "unsupported"},
    {ErrorCode::kCancelled, "cancelled"},
    {ErrorCode::kInternal, "internal"},
}};

std::string as_text(std::string_view bytes) {
  constexpr unsigned kAscii = 0x80;
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < kAscii) {
      text += c;
    } else {  // in UTF-8
      text += static_cast<char>(0xC0U | (byte >> 6U));
      text += static_cast<char>(0x80U | (byte & 0x3FU));
    }
  }
  return text;
}

// The JSON parser has seen to it that it is UTF-8.
Result<std::string> as_bytes(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80U) {
      bytes += text[i];
    } else if (byte <= 0xC3U && i + 1 < text.size()) {
      const auto second = static_cast<unsigned char>(text[++i]);
      bytes += static_cast<char>(((byte & 0x03U) << 6U) | (second & 0x3FU));
    } else {
      return fail(ErrorCode::kInvalidInput, "a character that is no byte");
    }
  }
  return bytes;
}

// Fields of a JSON object by type; what is not there has its default, what has another type is refused.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}

  Result<std::string> text(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) return std::string();
    if (!found->is_string()) return wrong(name, "a string");
    return as_bytes(found->get_ref<const std::string&>());
  }
  Result<bool> flag(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) return false;
    if (!found->is_boolean()) return wrong(name, "true or false");
    return found->get<bool>();
  }
  // Not negative, so that it fits signed and unsigned numbers.
  Result<int64_t> number(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) return 0;
    const bool fits =
        found->is_number_unsigned() && found->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    if (!fits) return wrong(name, "a whole number");
    return found->get<int64_t>();
  }
  Result<void> count(const char* name, uint64_t& into) const {
    into = static_cast<uint64_t>(ATOLL_TRY(number(name)));
    return {};
  }
  // Null where it is not there.
  Result<const json*> object(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) return nullptr;
    if (!found->is_object()) return wrong(name, "an object");
    return &*found;
  }

 private:
  static tl::unexpected<Error> wrong(const char* name, const char* wanted) {
    return fail(ErrorCode::kInvalidInput, fmt::format("\"{}\" is not {}", name, wanted));
  }
  const json& object_;
};

Result<json> parse_object(std::string_view text) {
  json document = json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.is_object()) {
    return fail(ErrorCode::kInvalidInput, "the message is no JSON object");
  }
  return document;
}

bool is_tree_path(std::string_view path) {
  if (path.empty()) return true;
  if (path.size() > kMaxPathBytes || path.find('\0') != std::string_view::npos) return false;
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return true;
}

json progress_object(const Progress& progress) {
  return {{"files", progress.files},
          {"files_in_all", progress.files_in_all},
          {"bytes", progress.bytes},
          {"bytes_in_all", progress.bytes_in_all}};
}

Result<Progress> parse_progress(const json& object) {
  const Fields fields(object);
  Progress progress;
  ATOLL_TRY(fields.count("files", progress.files));
  ATOLL_TRY(fields.count("files_in_all", progress.files_in_all));
  ATOLL_TRY(fields.count("bytes", progress.bytes));
  ATOLL_TRY(fields.count("bytes_in_all", progress.bytes_in_all));
  return progress;
}

json state_object(const FileState& state) {
  return {{"path", as_text(state.path)},
          {"directory", state.is_directory},
          {"exists", state.exists},
          {"archived", state.archived},
          {"dirty", state.dirty},
          {"released", state.released},
          {"size_bytes", state.size_bytes},
          {"cached_bytes", state.cached_bytes}};
}

Result<FileState> parse_state(const json& object) {
  if (!object.is_object()) return fail(ErrorCode::kInvalidInput, "a state is no object");
  const Fields fields(object);
  FileState state;
  state.path = ATOLL_TRY(fields.text("path"));
  state.is_directory = ATOLL_TRY(fields.flag("directory"));
  state.exists = ATOLL_TRY(fields.flag("exists"));
  state.archived = ATOLL_TRY(fields.flag("archived"));
  state.dirty = ATOLL_TRY(fields.flag("dirty"));
  state.released = ATOLL_TRY(fields.flag("released"));
  ATOLL_TRY(fields.count("size_bytes", state.size_bytes));
  ATOLL_TRY(fields.count("cached_bytes", state.cached_bytes));
  return state;
}

json imported_object(const storage::ImportCounts& counts) {
  return {{"listed", counts.listed},
          {"created", counts.created},
          {"changed", counts.changed},
          {"deleted", counts.deleted},
          {"requests", counts.requests}};
}

Result<storage::ImportCounts> parse_imported(const json& object) {
  const Fields fields(object);
  storage::ImportCounts counts;
  ATOLL_TRY(fields.count("listed", counts.listed));
  ATOLL_TRY(fields.count("created", counts.created));
  ATOLL_TRY(fields.count("changed", counts.changed));
  ATOLL_TRY(fields.count("deleted", counts.deleted));
  ATOLL_TRY(fields.count("requests", counts.requests));
  return counts;
}

json info_object(const DaemonInfo& info) {
  const LayerCounts& counts = info.counts;
  return {{"pid", info.pid},
          {"mount_point", as_text(info.mount_point)},
          {"source", as_text(info.source)},
          {"log_file", as_text(info.log_file)},
          {"exported_files", counts.exported_files},
          {"exported_bytes", counts.exported_bytes},
          {"removed_objects", counts.removed_objects},
          {"failed_exports", counts.failed_exports},
          {"conflicts", counts.conflicts},
          {"waiting_exports", counts.waiting_exports},
          {"hidden_keys", counts.hidden_keys}};
}

Result<DaemonInfo> parse_info(const json& object) {
  const Fields fields(object);
  DaemonInfo info;
  info.pid = ATOLL_TRY(fields.number("pid"));
  info.mount_point = ATOLL_TRY(fields.text("mount_point"));
  info.source = ATOLL_TRY(fields.text("source"));
  info.log_file = ATOLL_TRY(fields.text("log_file"));
  ATOLL_TRY(fields.count("exported_files", info.counts.exported_files));
  ATOLL_TRY(fields.count("exported_bytes", info.counts.exported_bytes));
  ATOLL_TRY(fields.count("removed_objects", info.counts.removed_objects));
  ATOLL_TRY(fields.count("failed_exports", info.counts.failed_exports));
  ATOLL_TRY(fields.count("conflicts", info.counts.conflicts));
  ATOLL_TRY(fields.count("waiting_exports", info.counts.waiting_exports));
  ATOLL_TRY(fields.count("hidden_keys", info.counts.hidden_keys));
  return info;
}

json error_object(const Error& error) {
  std::string_view code = "internal";
  for (const auto& [known, name] : kCodes) {
    if (known == error.code) code = name;
  }
  json context = json::array();
  for (const std::string& link : error.context) context.push_back(as_text(link));
  return {{"code", code},
          {"message", as_text(error.message)},
          {"hint", as_text(error.hint)},
          {"context", std::move(context)}};
}

Result<Error> parse_error(const json& object) {
  const Fields fields(object);
  Error error;
  const std::string code = ATOLL_TRY(fields.text("code"));
  for (const auto& [known, name] : kCodes) {
    if (name == code) error.code = known;
  }
  error.message = ATOLL_TRY(fields.text("message"));
  error.hint = ATOLL_TRY(fields.text("hint"));
  const auto context = object.find("context");
  if (context == object.end() || !context->is_array()) return error;
  for (const json& link : *context) {
    if (!link.is_string()) return fail(ErrorCode::kInvalidInput, "a context that is no string");
    error.context.push_back(ATOLL_TRY(as_bytes(link.get_ref<const std::string&>())));
  }
  return error;
}

Result<ControlReply> parse_done(const json& done) {
  ControlReply reply;
  reply.kind = ControlReply::Kind::kDone;
  const Fields fields(done);
  if (const json* progress = ATOLL_TRY(fields.object("progress"))) {
    reply.progress = ATOLL_TRY(parse_progress(*progress));
  }
  if (const json* imported = ATOLL_TRY(fields.object("imported"))) {
    reply.imported = ATOLL_TRY(parse_imported(*imported));
  }
  if (const json* info = ATOLL_TRY(fields.object("info")))
    reply.info = ATOLL_TRY(parse_info(*info));
  return reply;
}

}  // namespace

std::string to_json(const ControlRequest& request) {
  std::string_view name;
  for (const CommandName& known : kCommands) {
    if (known.command == request.command) name = known.name;
  }
  const json document = {{"command", name},
                         {"path", as_text(request.path)},
                         {"glob", as_text(request.glob)},
                         {"recursive", request.recursive},
                         {"unused_s", static_cast<uint64_t>(request.unused_s)},
                         {"lazily", request.lazily}};
  return document.dump();
}

Result<ControlRequest> parse_request(std::string_view text) {
  const json document = ATOLL_TRY(parse_object(text));
  const Fields fields(document);
  ControlRequest request;
  const std::string name = ATOLL_TRY(fields.text("command"));
  const auto* const known = std::ranges::find(kCommands, name, &CommandName::name);
  if (known == kCommands.end()) {
    return fail(ErrorCode::kInvalidInput, "the message names no command that is known");
  }
  request.command = known->command;
  request.path = ATOLL_TRY(fields.text("path"));
  if (!is_tree_path(request.path)) {
    return fail(ErrorCode::kInvalidInput, "\"path\" is no path below the root");
  }
  request.glob = ATOLL_TRY(fields.text("glob"));
  request.recursive = ATOLL_TRY(fields.flag("recursive"));
  request.unused_s = ATOLL_TRY(fields.number("unused_s"));
  request.lazily = ATOLL_TRY(fields.flag("lazily"));
  return request;
}

std::string to_json(const ControlReply& reply) {
  json document;
  switch (reply.kind) {
    case ControlReply::Kind::kProgress:
      document["progress"] = progress_object(reply.progress);
      break;
    case ControlReply::Kind::kStates:
      document["states"] = json::array();
      for (const FileState& state : reply.states) document["states"].push_back(state_object(state));
      break;
    case ControlReply::Kind::kDone:
      document["done"] = {{"progress", progress_object(reply.progress)}};
      if (reply.imported) document["done"]["imported"] = imported_object(*reply.imported);
      if (reply.info) document["done"]["info"] = info_object(*reply.info);
      break;
    case ControlReply::Kind::kError:
      document["error"] = error_object(reply.error);
      break;
  }
  return document.dump();
}

Result<ControlReply> parse_reply(std::string_view text) {
  const json document = ATOLL_TRY(parse_object(text));
  const Fields fields(document);
  ControlReply reply;
  if (const json* progress = ATOLL_TRY(fields.object("progress"))) {
    reply.kind = ControlReply::Kind::kProgress;
    reply.progress = ATOLL_TRY(parse_progress(*progress));
    return reply;
  }
  if (const json* error = ATOLL_TRY(fields.object("error"))) {
    reply.kind = ControlReply::Kind::kError;
    reply.error = ATOLL_TRY(parse_error(*error));
    return reply;
  }
  if (const json* done = ATOLL_TRY(fields.object("done"))) return parse_done(*done);
  const auto states = document.find("states");
  if (states == document.end() || !states->is_array()) {
    return fail(ErrorCode::kInvalidInput, "the message is no reply that is known");
  }
  reply.kind = ControlReply::Kind::kStates;
  for (const json& state : *states) reply.states.push_back(ATOLL_TRY(parse_state(state)));
  return reply;
}

std::string frame(std::string_view json) {
  std::string whole(kFrameHeaderBytes, '\0');
  for (size_t i = 0; i < kFrameHeaderBytes; ++i) {
    whole[i] = static_cast<char>(json.size() >> (kByteBits * (kFrameHeaderBytes - 1 - i)));
  }
  return whole.append(json);
}

Result<std::optional<std::string>> FrameReader::next() {
  if (waiting_.size() < kFrameHeaderBytes) return std::nullopt;
  size_t length = 0;
  for (size_t i = 0; i < kFrameHeaderBytes; ++i) {
    length = length << kByteBits | static_cast<unsigned char>(waiting_[i]);
  }
  if (length > max_bytes_) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("a message of {} bytes; {} are the most", length, max_bytes_));
  }
  if (waiting_.size() - kFrameHeaderBytes < length) return std::nullopt;
  std::string content = waiting_.substr(kFrameHeaderBytes, length);
  waiting_.erase(0, kFrameHeaderBytes + length);
  return content;
}

}  // namespace atl::fs
