#include "storage/cache/bucket_claim.h"

#include <fmt/format.h>

#include <optional>

#include "storage/cache/claim_holder.h"

namespace atl::storage {
namespace {

constexpr uint64_t kMaxClaimBytes = 4096;

// A claim that is held. Renewed by a thread of its own until it goes.
class HeldClaim {
 public:
  HeldClaim(std::shared_ptr<Remote> remote,
            const ClaimHolder& self,
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
    const auto self = ClaimHolder::self();
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

  Result<Claim> held(const ClaimHolder& self, const std::string& etag, std::string note) {
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
      const auto holder = ClaimHolder::from_json(text.substr(0, text.find('\n')));
      const Alive alive = holder.is_alive();
      if (alive == Alive::kNo) return DeadClaim{found->info.etag, {}};
      const bool renewed = !seen.etag.empty() && seen.etag != found->info.etag;
      if (renewed || alive == Alive::kYes) {
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
