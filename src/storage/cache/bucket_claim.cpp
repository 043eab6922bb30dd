#include "storage/cache/bucket_claim.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <sstream>

namespace atl::storage {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxClaimBytes = 4096;

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// What tells one start of a machine, and one space of process numbers on it, from all others.
std::string machine() {
  struct stat status {};
  const auto space = ::stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
  return fmt::format("{}/{}", first_line("/proc/sys/kernel/random/boot_id"), space);
}

// When a process began, in the kernel's ticks; "" where there is no such process. Numbers come again, start
// times do not.
std::string start_of(int64_t process) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", process).c_str());
  // The second field is the program's name in parentheses and may hold anything; the start is the
  // twentieth after it.
  std::istringstream fields(line.substr(std::min(line.rfind(')') + 1, line.size())));
  const std::vector<std::string> words{std::istream_iterator<std::string>(fields), {}};
  constexpr size_t kStart = 19;
  return words.size() > kStart ? words[kStart] : "";
}

struct Holder {
  std::string host;
  std::string machine;
  int64_t process = 0;
  std::string started;
  std::string token;  // no two claims have the same

  std::string to_json() const {
    return Json({{"host", host},
                 {"machine", machine},
                 {"process", process},
                 {"started", started},
                 {"token", token}})
        .dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  // Anything else that lies there is a holder of whom nothing is known.
  static Holder from_json(std::string_view text) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return {};
    const auto word = [&](const char* name) {
      const auto found = json.find(name);
      return found != json.end() && found->is_string() ? found->get<std::string>() : "";
    };
    Holder holder{word("host"), word("machine"), 0, word("started"), word("token")};
    const auto process = json.find("process");
    if (process != json.end() && process->is_number_integer()) holder.process = *process;
    return holder;
  }
  static Holder self() {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    std::random_device random;
    const int64_t process = ::getpid();
    return {host.data(),
            storage::machine(),
            process,
            start_of(process),
            fmt::format("{:08x}{:08x}", random(), random())};
  }
  bool is_here() const { return machine == storage::machine() && !started.empty(); }
  bool is_dead() const { return is_here() && start_of(process) != started; }
  std::string name() const {
    if (host.empty()) return "an unknown program";
    return fmt::format("process {} on {}", process, host);
  }
};

// A claim that is held. Renewed by a thread of its own until it goes.
class HeldClaim {
 public:
  HeldClaim(std::shared_ptr<Remote> remote,
            const Holder& self,
            std::string etag,
            std::shared_ptr<std::atomic<bool>> lost,
            std::chrono::milliseconds renew_every)
      : remote_(std::move(remote)),
        text_(self.to_json()),
        etag_(std::move(etag)),
        lost_(std::move(lost)),
        renew_every_(renew_every),
        thread_([this] { run(); }) {}
  HeldClaim(const HeldClaim&) = delete;
  HeldClaim& operator=(const HeldClaim&) = delete;
  ~HeldClaim() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    ended_.notify_all();
    thread_.join();
    if (*lost_) return;
    const std::string key(kClaimKey);
    // One that stays is taken over later.
    (void)remote_->remove(std::span(&key, 1));
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!ended_.wait_for(lock, renew_every_, [&] { return ending_; })) {
      lock.unlock();
      renew();
      lock.lock();
      if (*lost_) return;
    }
  }

  // A server that cannot be reached makes nobody else the holder.
  void renew() {
    // With a number, so that each renewal is another version even where the ETag is the content's hash.
    const auto bytes = numbered();
    const auto put = remote_->upload(kClaimKey, upload_source(bytes), {.if_match = etag_});
    if (put) {
      etag_ = put->etag;
      return;
    }
    if (put.error().code != ErrorCode::kConflict && put.error().code != ErrorCode::kNotFound)
      return;
    // Perhaps our own renewal, whose answer was lost.
    const auto found = remote_->read({.key = std::string(kClaimKey), .size_bytes = kMaxClaimBytes});
    if (found && found->bytes.text() == bytes.text()) {
      etag_ = found->info.etag;
    } else if (found || found.error().code == ErrorCode::kNotFound) {
      *lost_ = true;
    }
  }

  Blob numbered() {
    const std::string text = fmt::format("{}\n{}\n", text_, ++renewals_);
    const auto bytes = std::as_bytes(std::span(text));
    return Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
  }

  const std::shared_ptr<Remote> remote_;
  const std::string text_;
  std::string etag_;  // of the thread alone
  uint64_t renewals_ = 0;
  const std::shared_ptr<std::atomic<bool>> lost_;
  const std::chrono::milliseconds renew_every_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  std::thread thread_;
};

Blob blob_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Blob(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

class Claimant {
 public:
  Claimant(std::shared_ptr<Remote> remote,
           std::shared_ptr<std::atomic<bool>> lost,
           ClaimOptions options)
      : remote_(std::move(remote)), lost_(std::move(lost)), options_(std::move(options)) {
    if (!options_.wait) options_.wait = [](auto time) { std::this_thread::sleep_for(time); };
  }

  Result<Claim> claim() {
    const auto self = Holder::self();
    const auto text = blob_of(self.to_json() + "\n0\n");
    UploadOptions how{.if_absent = true};
    std::string note;
    for (;;) {
      auto put = remote_->upload(kClaimKey, upload_source(text), how);
      if (put) return held(self, put->etag, std::move(note));
      if (put.error().code == ErrorCode::kUnsupported) return unprotected();
      if (put.error().code != ErrorCode::kConflict && put.error().code != ErrorCode::kNotFound) {
        return tl::unexpected(std::move(put).error());
      }
      const auto dead = ATOLL_TRY(watch_holder());
      // Gone meanwhile, or to be taken over.
      how = dead ? UploadOptions{.if_match = dead->etag} : UploadOptions{.if_absent = true};
      if (dead) note = dead->note;
    }
  }

 private:
  struct DeadClaim {
    std::string etag;
    std::string note;
  };

  Result<Claim> held(const Holder& self, const std::string& etag, std::string note) {
    return Claim{std::make_shared<HeldClaim>(remote_, self, etag, lost_, options_.renew_every),
                 std::move(note)};
  }

  Result<Claim> unprotected() const {
    return Claim{nullptr,
                 fmt::format("{} cannot be claimed, for its server knows no conditional PUT: see "
                             "to it that no second run writes there",
                             remote_->uri())};
  }

  // A dead holder's claim, or nullopt where there is none any more.
  Result<std::optional<DeadClaim>> watch_holder() {
    DeadClaim seen;
    for (std::chrono::milliseconds watched{0}; watched < options_.expiry;
         watched += options_.look_every) {
      if (!seen.etag.empty()) options_.wait(options_.look_every);
      const auto found =
          remote_->read({.key = std::string(kClaimKey), .size_bytes = kMaxClaimBytes});
      if (!found) {
        if (found.error().code == ErrorCode::kNotFound) return std::nullopt;
        return tl::unexpected(found.error());
      }
      const auto text = found->bytes.text();
      const Holder holder = Holder::from_json(text.substr(0, text.find('\n')));
      if (holder.is_dead()) return DeadClaim{found->info.etag, {}};
      const bool renewed = !seen.etag.empty() && seen.etag != found->info.etag;
      if (renewed || holder.is_here()) {
        return fail(
            ErrorCode::kInvalidInput,
            fmt::format("{}: another run is writing there: {}", remote_->uri(), holder.name()),
            "wait for it or stop it, or choose another place");
      }
      seen = {
          found->info.etag,
          fmt::format("{} was claimed by {}, which has not been heard of for {} s and is taken "
                      "to be dead",
                      remote_->uri(),
                      holder.name(),
                      std::chrono::duration_cast<std::chrono::seconds>(options_.expiry).count())};
    }
    return seen;
  }

  const std::shared_ptr<Remote> remote_;
  const std::shared_ptr<std::atomic<bool>> lost_;
  ClaimOptions options_;
};

}  // namespace

Result<Claim> claim_bucket(std::shared_ptr<Remote> remote,
                           std::shared_ptr<std::atomic<bool>> lost,
                           ClaimOptions options) {
  return Claimant(std::move(remote), std::move(lost), std::move(options)).claim();
}

}  // namespace atl::storage
