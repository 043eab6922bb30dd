// What `atoll fs` and the daemon of a mount say to each other: one request, then replies until the last
// one. Each message is a frame: its length, four bytes, the highest first, then JSON.
//
// Names of files are bytes, JSON's strings are not: a byte of 0x80 and more travels as the character of
// that number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "fs/file_layer.h"

namespace atl::fs {

inline constexpr size_t kMaxRequestBytes = size_t{64} << 10;
inline constexpr size_t kMaxReplyBytes = size_t{4} << 20;
inline constexpr size_t kFrameHeaderBytes = 4;

enum class ControlCommand { kInfo, kStatus, kPreload, kRelease, kExport, kImport, kUnmount };

struct ControlRequest {
  ControlCommand command = ControlCommand::kInfo;
  std::string path;        // below the root, "" for all; checked: no "..", no empty component
  std::string glob;        // preload: of the path below `path`; "": everything
  bool recursive = false;  // status
  int64_t unused_s = 0;    // release: since the last reading
  bool lazily = false;     // unmount
  bool operator==(const ControlRequest&) const = default;
};

struct DaemonInfo {
  int64_t pid = 0;
  std::string mount_point;
  std::string source;
  std::string log_file;
  LayerCounts counts;
};

struct ControlReply {
  // kProgress and kStates come any number of times; kDone or kError is the last.
  enum class Kind { kProgress, kStates, kDone, kError };
  Kind kind = Kind::kDone;
  Progress progress;                              // kProgress; kDone of the jobs
  std::vector<FileState> states;                  // kStates
  std::optional<storage::ImportCounts> imported;  // kDone of an import
  std::optional<DaemonInfo> info;                 // kDone of kInfo
  Error error;                                    // kError
};

std::string to_json(const ControlRequest& request);
std::string to_json(const ControlReply& reply);
// kInvalidInput for anything that is not what to_json gives.
Result<ControlRequest> parse_request(std::string_view json);
Result<ControlReply> parse_reply(std::string_view json);

// Bytes as they come, to frames. A frame longer than `max_bytes` is kInvalidInput, and nothing after it
// can be read.
class FrameReader {
 public:
  explicit FrameReader(size_t max_bytes) : max_bytes_(max_bytes) {}
  void add(std::string_view bytes) { waiting_ += bytes; }
  // The next whole frame's content.
  Result<std::optional<std::string>> next();

 private:
  size_t max_bytes_;
  std::string waiting_;
};

std::string frame(std::string_view json);

}  // namespace atl::fs
