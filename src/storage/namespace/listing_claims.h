// LISTs under way in this process, by the key they begin at: what one thread is listing, another one waits for instead
// of asking the bucket, too. So an import and a reader that go through a bucket at the same time cost one listing.
//
// Whoever holds a claim may wait for one that lies behind it, never for one before it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "storage/namespace/names_database.h"

namespace atl::storage {

// Thread safe. Outlives what it has given.
class ListingClaims {
 public:
  // Until it goes: when the page is in the database, or will never be.
  class Held {
   public:
    Held(ListingClaims& claims, std::string first) : claims_(&claims), first_(std::move(first)) {}
    Held(Held&& other) noexcept
        : claims_(std::exchange(other.claims_, nullptr)), first_(std::move(other.first_)) {}
    Held& operator=(Held&& other) noexcept {
      std::swap(claims_, other.claims_);
      std::swap(first_, other.first_);
      return *this;
    }
    ~Held() {
      if (claims_ != nullptr) claims_->release(first_);
    }

   private:
    ListingClaims* claims_;
    std::string first_;
  };

  // nullopt: another thread is at it.
  std::optional<Held> take(const std::string& first) {
    const std::lock_guard lock(mutex_);
    if (!under_way_.insert(first).second) return std::nullopt;
    return std::optional<Held>(std::in_place, *this, first);
  }
  // Returns when nobody is at it.
  void wait_for(const std::string& first) {
    std::unique_lock lock(mutex_);
    released_.wait(lock, [&] { return !under_way_.contains(first); });
  }

 private:
  void release(const std::string& first) {
    {
      const std::lock_guard lock(mutex_);
      under_way_.erase(first);
    }
    released_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable released_;
  std::set<std::string> under_way_;
};

// A claim on the page at `first`, if it has not been listed since then. nullopt: another thread is at it, or has brought
// it a moment ago; wait_for() it, then look again.
Result<std::optional<ListingClaims::Held>> claim_unlisted(ListingClaims& claims,
                                                          NamesDatabase& database,
                                                          const std::string& first,
                                                          int64_t since_ns);

}  // namespace atl::storage
