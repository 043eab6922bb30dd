// Logs in a bucket. An object cannot grow, so what is appended is kept in a file without a name, and the
// object is replaced by all of it: when a mebibyte or an eighth of the object has come together, ten
// seconds after something was appended, at flush() and at the end. An eighth, so that a long log is not
// sent again for each line: all that is sent is then at most nine times the log.
//
// Replacing is done by a thread of its own, so appending does not wait for the network. What could not
// be sent stays and is tried again; flush() tells.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "storage/nameless_file.h"
#include "storage/remote.h"

namespace atl::storage {

struct AppendOptions {
  uint64_t upload_bytes = uint64_t{1} << 20;
  std::chrono::milliseconds upload_after = std::chrono::seconds(10);
};

// Thread safe.
class AppendBuffer {
 public:
  // Replaces an object; what CachedStore's put does.
  using Upload = std::function<Result<void>(std::string_view key, const UploadSource& source)>;
  // What the object holds so far; an empty blob where there is none.
  using Load = std::function<Result<Blob>()>;

  explicit AppendBuffer(Upload upload, AppendOptions options = {});
  ~AppendBuffer();  // sends what is left, once
  AppendBuffer(const AppendBuffer&) = delete;
  AppendBuffer& operator=(const AppendBuffer&) = delete;

  // `load` is called for a key's first bytes. An error means that nothing was added.
  Result<void> append(std::string_view key, std::span<const std::byte> bytes, const Load& load);
  // Returns when all that was appended so far is in the bucket. The first error that stands in the
  // way; the other keys are sent all the same.
  Result<void> flush();
  Result<void> flush(std::string_view key);
  // The object was replaced or removed: what was appended to it is no more.
  void forget(std::string_view key);

 private:
  struct Log {
    explicit Log(NamelessFile f) : file(std::move(f)) {}
    NamelessFile file;
    uint64_t size_bytes = 0;
    uint64_t sent_bytes = 0;
    bool sending = false;
    std::chrono::steady_clock::time_point due;  // where something is unsent
  };
  using Logs = std::map<std::string, std::shared_ptr<Log>, std::less<>>;

  void run();
  bool is_due(const Log& log, std::chrono::steady_clock::time_point now) const;
  Result<void> send(const std::string& key,
                    const std::shared_ptr<Log>& log,
                    std::unique_lock<std::mutex>& lock);

  const Upload upload_;
  const AppendOptions options_;
  std::mutex append_mutex_;  // one append at a time; held while a log is loaded
  std::mutex mutex_;         // guards what follows
  std::condition_variable changed_;
  bool ending_ = false;
  Logs logs_;
  std::thread thread_;  // from the first append on
};

}  // namespace atl::storage
