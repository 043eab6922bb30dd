// Lists a part of the bucket and takes over what differs, in several listings at a time.
//
// A listing goes page by page, so its pages cannot be asked for at once; but listings that begin at
// different keys can. Where they begin is known from the last import, which left a key for every 16
// pages (`bounds`); and where nothing is known, from what comes in: once a listing has been within one
// directory for several pages, another one begins behind that directory, and the next ones within it, at keys
// that are guessed (key_guess.h). A listing that reaches the
// start of the next goes on with it if nobody else has begun it; so what is asked for twice is at most
// the end of a page for each of the listings under way, and less than a quarter more than there is. What others
// have listed since the sweep began is passed over, and what they are listing waited for.
//
// Pages go into the database in the writer's thread while the next ones are under way.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "storage/namespace/listing_claims.h"
#include "storage/namespace/page_apply.h"

namespace atl::storage {

struct SweepRequest {
  std::string prefix;
  ImportPolicy policy;
  int64_t since_ns = 0;  // what was listed since then is not listed again
  int listings = 8;      // at a time, at most
  bool learn_bounds = false;
};

class Sweep {
 public:
  using Clock = std::function<int64_t()>;
  // After each page, one call at a time.
  using OnPage =
      std::function<void(const ImportCounts& so_far, const std::vector<std::string>& changed)>;

  Sweep(Remote& remote,
        NamesDatabase& database,
        Clock clock,
        ListingClaims& claims,
        SweepRequest request,
        OnPage on_page);

  // kCancelled: stopped. Whatever the error, the pages that came before it are in the database.
  Result<ImportCounts> run(std::stop_token stop);

 private:
  // A stretch of keys for one listing.
  struct Stretch {
    std::string at;
    std::string past;
    bool taken = false;
    std::string directory;  // that the pages so far lie in
    int pages_in_directory = 0;
    int pages_since_split = 0;
    int pages_since_bound = 0;
    size_t page_place = 0;  // where keys a page apart differ first; 0: not known
    size_t steps = 1;       // the next guess ahead is so many places before that
  };
  using Stretches = std::list<Stretch>;
  struct Applying {
    std::future<Result<void>> done;
    std::shared_ptr<AppliedPage> applied;
  };

  Result<void> plan();
  void work();
  Stretches::iterator take_one();  // mutex_ held, as for all that touches stretches_
  bool split_one();
  bool split_at(Stretches::iterator stretch, std::string middle);
  static std::optional<std::string> guess(const Stretch& stretch);
  std::optional<std::string> goes_on(Stretches::iterator stretch, const std::string& at);
  Result<void> list(Stretches::iterator stretch);
  Result<void> list_pages(Stretches::iterator stretch, std::optional<Applying>& applying);
  Result<void> finish(Applying applying);
  std::string end_of(Stretches::iterator stretch);
  void count_request();
  void learn(Stretches::iterator stretch, std::string_view first, std::string_view past);
  Applying apply_later(ListedPage page, ListingClaims::Held claim);

  Remote& remote_;
  NamesDatabase& database_;
  const Clock clock_;
  ListingClaims& claims_;
  const SweepRequest request_;
  const OnPage on_page_;
  int64_t begin_ns_ = 0;
  std::stop_token stop_;

  std::mutex mutex_;
  std::condition_variable changed_;
  Stretches stretches_;  // in order, what is still to be listed
  int working_ = 0;
  std::optional<Error> error_;
  std::vector<std::string> bounds_;

  std::mutex counts_mutex_;
  ImportCounts counts_;
};

}  // namespace atl::storage
