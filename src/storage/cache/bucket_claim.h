// The right to be a bucket's only writer. A bucket knows no locks, but it can refuse to put an object that
// is there already, or is another one by now: so a claim is an object, kClaimKey, that its holder
// makes, renews by replacing it, and removes.
//
// - A holder that ends well removes it. One that was killed on this machine is recognised by its process
//   number and start time, and its claim taken over at once.
// - Of one elsewhere only the object is seen: where it does not change for kExpiry, its holder is dead.
//   Whoever finds a claim therefore watches it for so long before he takes it over, and no clock is
//   compared with another machine's. He who takes over does it with If-Match, so of two only one gets it.
// - A holder that was suspended for longer finds that its claim is another's. It is told, and
//   writes no more: CachedStore refuses to put then.
//
// Servers without conditional PUT give a claim that keeps nobody out, with a note.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.h"
#include "storage/remote.h"
#include "storage/storage.h"

namespace atl::storage {

// No key (storage/key.h): nobody can read, write or list it through a store.
inline constexpr std::string_view kClaimKey = ".atoll-tmp-claim";

struct ClaimOptions {
  std::chrono::milliseconds renew_every = std::chrono::seconds(15);
  std::chrono::milliseconds expiry = std::chrono::seconds(60);
  std::chrono::milliseconds look_every = std::chrono::seconds(2);
  // Waits, in the claiming thread, between two looks. Tests put their own there.
  std::function<void(std::chrono::milliseconds)> wait;
};

// kInvalidInput: another run writes there; the message says which. `lost` becomes true when the claim
// has been taken by another.
Result<Claim> claim_bucket(std::shared_ptr<Remote> remote,
                           std::shared_ptr<std::atomic<bool>> lost,
                           ClaimOptions options = {});

}  // namespace atl::storage
