#include "sagemaker/pipe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "dataset/tfrecord.h"
#include "dataset/tfrecord_shards.h"
#include "sagemaker/record_io.h"
#include "storage/local_store.h"

namespace atl::sagemaker {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kReadBytes = 1 << 20;
constexpr auto kSayEvery = std::chrono::seconds(10);
constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 30;  // a picture with its masks has a few MB

// Cuts a stream of TFRecords into files of whole records.
class ShardWriter {
 public:
  ShardWriter(const std::string& folder, uint64_t shard_bytes)
      : folder_(folder), store_(folder), shard_bytes_(shard_bytes) {}

  Result<void> add(std::span<const std::byte> bytes) {
    held_.insert(held_.end(), bytes.begin(), bytes.end());
    ATOLL_TRY(step_over_records());
    return whole_ >= shard_bytes_ ? write_shard() : Result<void>();
  }
  // The files get their numbers "-of-N".
  Result<void> finish() {
    if (whole_ < held_.size()) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("the stream ends within the record at byte {}", written_ + whole_));
    }
    if (!held_.empty()) ATOLL_TRY(write_shard());
    for (size_t i = 0; i < shards_; ++i) {
      std::error_code error;
      std::filesystem::rename(
          fmt::format("{}/{}", folder_, unfinished(i)),
          fmt::format("{}/{}", folder_, dataset::shard_name("part", i, shards_)),
          error);
      if (error) return fail_errno("renaming what was read", error.value());
    }
    return {};
  }
  size_t shards() const { return shards_; }

 private:
  static std::string unfinished(size_t shard) { return fmt::format("unfinished-{:05}", shard); }

  Result<void> step_over_records() {
    while (held_.size() - whole_ >= dataset::kTfrecordHeaderBytes) {
      const auto bytes = ATOLL_TRY_CONTEXT(dataset::tfrecord_data_bytes(std::span(held_).subspan(
                                               whole_, dataset::kTfrecordHeaderBytes)),
                                           fmt::format("the record at byte {}", written_ + whole_));
      if (bytes > kMaxRecordBytes) {
        return fail(
            ErrorCode::kCorrupt,
            fmt::format("the record at byte {} has {}", written_ + whole_, format_bytes(bytes)));
      }
      const uint64_t frame = dataset::kTfrecordHeaderBytes + bytes + dataset::kTfrecordFooterBytes;
      if (held_.size() - whole_ < frame) return {};
      whole_ += frame;
    }
    return {};
  }

  Result<void> write_shard() {
    const auto part = std::span<const std::byte>(held_).first(whole_);
    ATOLL_TRY(store_.put(unfinished(shards_), std::span(&part, 1)));
    ++shards_;
    written_ += whole_;
    held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(whole_));
    whole_ = 0;
    return {};
  }

  const std::string folder_;
  storage::LocalStore store_;
  const uint64_t shard_bytes_;
  std::vector<std::byte> held_;
  size_t whole_ = 0;      // of held_, in whole records
  uint64_t written_ = 0;  // before held_
  size_t shards_ = 0;
};

// The FIFO of the first epoch.
class PipeReader {
 public:
  static Result<PipeReader> open(const std::string& path, std::chrono::milliseconds silence) {
    // Not O_RDONLY alone: that would wait for a writer without end.
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    struct stat status {};
    if (!fd) return fail_errno(path, errno);
    if (::fstat(fd.get(), &status) != 0 || !S_ISFIFO(status.st_mode)) {
      return fail(ErrorCode::kIo, fmt::format("{} is no FIFO", path));
    }
    return PipeReader(std::move(fd), silence);
  }

  // None at the end.
  Result<std::span<const std::byte>> next() {
    while (true) {
      pollfd ready{fd_.get(), POLLIN, 0};
      const int count = ::poll(&ready, 1, static_cast<int>(silence_.count()));
      if (count < 0 && errno != EINTR) return fail_errno("waiting for the pipe", errno);
      if (count == 0) {
        return fail(
            ErrorCode::kIo,
            fmt::format("nothing has come from the pipe for {}", format_duration(silence_)));
      }
      const ssize_t got = ::read(fd_.get(), buffer_.data(), buffer_.size());
      if (got >= 0) return std::span<const std::byte>(buffer_).first(static_cast<size_t>(got));
      if (errno != EAGAIN && errno != EINTR) return fail_errno("reading the pipe", errno);
    }
  }

 private:
  PipeReader(UniqueFd fd, std::chrono::milliseconds silence)
      : fd_(std::move(fd)), silence_(silence), buffer_(kReadBytes) {}

  UniqueFd fd_;
  std::chrono::milliseconds silence_;
  std::vector<std::byte> buffer_;
};

Result<uint64_t> spool(const std::string& fifo,
                       const Channel& channel,
                       const std::string& folder,
                       const SpoolOptions& options) {
  auto reader = ATOLL_TRY(PipeReader::open(fifo, options.silence));
  ShardWriter writer(folder, options.shard_bytes);
  RecordIoDecoder decoder;
  const auto write = [&](std::span<const std::byte> bytes) { return writer.add(bytes); };
  uint64_t read_bytes = 0;
  auto said = Clock::now();
  while (true) {
    const auto bytes = ATOLL_TRY(reader.next());
    if (bytes.empty()) break;
    read_bytes += bytes.size();
    ATOLL_TRY(channel.record_io ? decoder.add(bytes, write) : write(bytes));
    if (Clock::now() - said < kSayEvery || !options.say) continue;
    said = Clock::now();
    options.say(
        fmt::format("channel {}: {} read from its pipe", channel.name, format_bytes(read_bytes)));
  }
  ATOLL_TRY(decoder.finish());
  ATOLL_TRY(writer.finish());
  if (writer.shards() == 0) return fail(ErrorCode::kIo, "there is nothing in the pipe");
  return read_bytes;
}

}  // namespace

Result<ChannelFolder> spool_pipe(const Paths& paths,
                                 const Channel& channel,
                                 const SpoolOptions& options) {
  const std::string folder = fmt::format("{}/{}", options.directory, channel.name);
  const std::string fifo = fmt::format("{}/{}_0", paths.channels(), channel.name);
  const auto begin = Clock::now();
  auto bytes = spool(fifo, channel, folder, options);
  if (!bytes) {
    Error error = std::move(bytes).error();
    if (error.hint.empty()) {
      error.hint = error.code == ErrorCode::kCorrupt
                       ? "Pipe mode is for TFRecords alone; use FastFile mode for anything else"
                       : "use FastFile mode, which needs no copy, or give the job a larger volume";
    }
    return tl::unexpected(
        std::move(error).with_context(fmt::format("channel {} (Pipe, {})", channel.name, fifo)));
  }
  if (options.say) {
    options.say(fmt::format(
        "channel {}: {} from its pipe in {} lie in {}; FastFile mode would do without this copy",
        channel.name,
        format_bytes(*bytes),
        format_duration(Clock::now() - begin),
        folder));
  }
  return ChannelFolder{channel, folder};
}

}  // namespace atl::sagemaker
