#include "sagemaker/pipe_feed.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/unique_fd.h"

namespace atl::sagemaker {
namespace {

// Nobody tells when a FIFO is opened for reading, so it is asked.
constexpr int kAskEveryMs = 20;
constexpr size_t kPieceBytes = 1 << 20;

Result<void> make_fifo(const std::string& path) {
  if (::mkfifo(path.c_str(), S_IRUSR | S_IWUSR) != 0) return fail_errno("making " + path, errno);
  return {};
}

// Who stops reading shows as EPIPE, to this thread alone.
void block_sigpipe() {
  sigset_t pipe;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
}

}  // namespace

Result<std::unique_ptr<PipeFeed>> PipeFeed::start(const std::filesystem::path& folder,
                                                  const std::string& fifos) {
  job::Wakeup wakeup = ATOLL_TRY(job::Wakeup::make());
  std::unique_ptr<PipeFeed> feed(new PipeFeed(folder, fifos, std::move(wakeup)));
  ATOLL_TRY(feed->files_.list("", [&](const storage::ObjectInfo& file) {
    feed->keys_.push_back(file.key);
    return true;
  }));
  // Whoever is started next finds it.
  ATOLL_TRY(make_fifo(feed->fifo(0)));
  feed->thread_ = std::thread([it = feed.get()] { it->outcome_ = it->run(); });
  return feed;
}

PipeFeed::PipeFeed(const std::filesystem::path& folder, std::string fifos, job::Wakeup wakeup)
    : files_(folder.string()), fifos_(std::move(fifos)), wakeup_(std::move(wakeup)) {}

PipeFeed::~PipeFeed() { (void)end(); }

Result<void> PipeFeed::end() {
  wakeup_.wake();
  if (thread_.joinable()) thread_.join();
  return outcome_;
}

std::string PipeFeed::fifo(uint64_t epoch) const { return fmt::format("{}_{}", fifos_, epoch); }

bool PipeFeed::ended(int within_ms) const {
  pollfd wanted{wakeup_.fd(), POLLIN, 0};
  return ::poll(&wanted, 1, within_ms) > 0;
}

Result<void> PipeFeed::run() {
  block_sigpipe();
  for (uint64_t epoch = 0;; ++epoch) {
    const UniqueFd reader = ATOLL_TRY(wait_for_reader(fifo(epoch)));
    if (!reader) return {};
    ATOLL_TRY(make_fifo(fifo(epoch + 1)));
    ATOLL_TRY(give_all(reader.get()));
    if (ended(0)) return {};
    ::unlink(fifo(epoch).c_str());
  }
}

// Without a descriptor: it is to end.
Result<UniqueFd> PipeFeed::wait_for_reader(const std::string& fifo) {
  for (int wait_ms = 0; !ended(wait_ms); wait_ms = kAskEveryMs) {
    UniqueFd fd(::open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    if (fd) return fd;
    if (errno != ENXIO && errno != EINTR) return fail_errno("opening " + fifo, errno);
  }
  return UniqueFd();
}

Result<void> PipeFeed::give_all(int fd) {
  for (const std::string& key : keys_) {
    const storage::Blob file = ATOLL_TRY(files_.get(key));
    auto bytes = file.bytes();
    while (!bytes.empty()) {
      std::array<pollfd, 2> wanted{pollfd{fd, POLLOUT, 0}, pollfd{wakeup_.fd(), POLLIN, 0}};
      ::poll(wanted.data(), wanted.size(), -1);
      if (wanted[1].revents != 0) return {};
      const ssize_t put = ::write(fd, bytes.data(), std::min(bytes.size(), kPieceBytes));
      if (put >= 0) {
        bytes = bytes.subspan(static_cast<size_t>(put));
      } else if (errno == EPIPE) {
        return {};  // the reader has had enough of this epoch
      } else if (errno != EAGAIN && errno != EINTR) {
        return fail_errno("writing to a pipe", errno);
      }
    }
  }
  return {};
}

}  // namespace atl::sagemaker
