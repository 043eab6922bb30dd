#include "parallel/meeting.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <future>
#include <optional>
#include <string_view>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "parallel/address.h"
#include "parallel/rank_text.h"

namespace atl::parallel {
namespace {

using Clock = std::chrono::steady_clock;

// Beyond rank 0's own deadline, for its verdict to come.
constexpr auto kVerdictDelay = std::chrono::seconds(10);
// How long rank 0 keeps the store open for the others to read a verdict that ends the job.
constexpr auto kLastWords = std::chrono::seconds(5);
// How often a rank that waits looks whether it is to stop.
constexpr auto kLookForStop = std::chrono::milliseconds(500);
constexpr size_t kNamedRanks = 16;

std::chrono::milliseconds until(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  return std::max(left, std::chrono::milliseconds(1));
}

std::string seconds_text(std::chrono::milliseconds time) {
  return fmt::format("{:g} s", std::chrono::duration<double>(time).count());
}

tl::unexpected<Error> stopped() {
  return fail(ErrorCode::kCancelled, "stopped before the job began");
}

tl::unexpected<Error> no_word() {
  return fail(ErrorCode::kIo, "rank 0 has said nothing", "see what keeps rank 0");
}

// Whether the keys are there before the deadline; kCancelled: `stop`. Throws where the store is gone.
Result<bool> wait_for_keys(c10d::Store& store,
                           const std::vector<std::string>& keys,
                           Clock::time_point deadline,
                           const std::stop_token& stop) {
  while (true) {
    try {
      store.wait(keys, std::min<std::chrono::milliseconds>(until(deadline), kLookForStop));
      return true;
    } catch (const std::exception&) {
      if (store.check(keys)) return true;
      if (stop.stop_requested()) return stopped();
      if (Clock::now() >= deadline) return false;
    }
  }
}

// What a rank says of itself.
struct Arrival {
  std::string host;
  Ends ends;  // of its connection to rank 0's machine
  Agreed agreed;
};

std::string to_text(const Arrival& arrival) {
  std::vector<std::string> lines = {arrival.host, arrival.ends.own, arrival.ends.peer};
  for (const auto& [key, value] : arrival.agreed) {
    lines.push_back(key);
    lines.push_back(value);
  }
  return join_lines(lines);
}

std::optional<Arrival> arrival_of(const std::string& text) {
  const auto lines = split_lines(text);
  if (lines.size() < 3 || lines.size() % 2 == 0) return std::nullopt;
  Arrival arrival{lines[0], {lines[1], lines[2]}, {}};
  for (size_t i = 3; i < lines.size(); i += 2) arrival.agreed.emplace_back(lines[i], lines[i + 1]);
  return arrival;
}

// The first key that differs; "" where none does.
std::string difference(const Agreed& first,
                       const Agreed& second,
                       int rank,
                       const std::string& host0,
                       const std::string& host) {
  const size_t count = std::min(first.size(), second.size());
  for (size_t i = 0; i < count; ++i) {
    if (first[i] == second[i]) continue;
    if (first[i].first != second[i].first) {
      return fmt::format("rank 0 on {} knows of {}, rank {} on {} of {} in its place",
                         host0,
                         first[i].first,
                         rank,
                         host,
                         second[i].first);
    }
    return fmt::format("{} is {} on rank 0 ({}), but {} on rank {} ({})",
                       first[i].first,
                       first[i].second,
                       host0,
                       second[i].second,
                       rank,
                       host);
  }
  if (first.size() == second.size()) return {};
  const auto& more = first.size() > second.size() ? first[count] : second[count];
  return fmt::format("only {} knows of {}",
                     first.size() > second.size() ? "rank 0" : fmt::format("rank {}", rank),
                     more.first);
}

// --- Rank 0 ---

class Host {
 public:
  Host(const GroupOptions& options, const Agreed& agreed) : options_(options), agreed_(agreed) {}

  Result<Meeting> run() {
    const auto deadline = Clock::now() + options_.join_timeout;
    ATOLL_TRY(open());
    const Ends ends = ATOLL_TRY_CONTEXT(
        reach(options_.master_host, options_.master_port, deadline, options_.stop),
        "rank 0 does not reach its own place");
    Arrival self{host_name(), ends, agreed_};
    store_->set("size", std::to_string(options_.size));
    auto missing = wait_for_all(deadline);
    if (!missing) return end(missing.error());
    if (!missing->empty()) return end(missing_error(*missing));
    std::vector<Arrival> arrivals = {std::move(self)};
    for (int rank = 1; rank < options_.size; ++rank) {
      auto arrival = arrival_of(store_->get_to_str(rank_key("here", rank)));
      if (!arrival) {
        return end({ErrorCode::kInvalidInput,
                    fmt::format("rank {} is no program of this version", rank),
                    "start the same program on all machines",
                    {}});
      }
      arrivals.push_back(*std::move(arrival));
    }
    if (auto differs = first_difference(arrivals); !differs.empty()) {
      return end({ErrorCode::kInvalidInput,
                  "the ranks do not agree: " + differs,
                  "start all ranks with the same program and the same options",
                  {}});
    }
    return begin(arrivals);
  }

 private:
  Result<void> open() {
    c10d::TCPStoreOptions store;
    store.port = options_.master_port;
    store.isServer = true;
    store.waitWorkers = false;
    store.timeout = options_.join_timeout;
    if (options_.listen_fd >= 0) store.masterListenFd = options_.listen_fd;
    try {
      // The server listens on every address; this is how its own rank comes to it.
      store_ = c10::make_intrusive<c10d::TCPStore>("localhost", store);
    } catch (const std::exception& error) {
      return fail(ErrorCode::kIo,
                  fmt::format("rank 0 cannot listen on port {}: {}",
                              options_.master_port,
                              first_line(error.what())),
                  "another job may use it: choose another port for all ranks");
    }
    return {};
  }

  Result<std::vector<int>> wait_for_all(Clock::time_point deadline) {
    std::vector<std::string> keys;
    for (int rank = 1; rank < options_.size; ++rank) keys.push_back(rank_key("here", rank));
    std::vector<int> missing;
    if (ATOLL_TRY(wait_for_keys(*store_, keys, deadline, options_.stop))) return missing;
    for (int rank = 1; rank < options_.size; ++rank) {
      if (!store_->check({rank_key("here", rank)})) missing.push_back(rank);
    }
    return missing;
  }

  // "3", or "3 (algo-2)".
  std::string name_of(int rank) const {
    const auto index = static_cast<size_t>(rank);
    if (index >= options_.rank_hosts.size()) return std::to_string(rank);
    return fmt::format("{} ({})", rank, options_.rank_hosts[index]);
  }

  Error missing_error(std::vector<int>& missing) const {
    const size_t count = missing.size();
    if (count > kNamedRanks) missing.resize(kNamedRanks);
    std::vector<std::string> names;
    names.reserve(missing.size());
    for (const int rank : missing) names.push_back(name_of(rank));
    return {ErrorCode::kIo,
            fmt::format("{} of {} ranks had not come to {}:{} after {}: {} {}{}",
                        count,
                        options_.size,
                        options_.master_host,
                        options_.master_port,
                        seconds_text(options_.join_timeout),
                        count == 1 ? "rank" : "ranks",
                        fmt::join(names, ", "),
                        count > kNamedRanks ? ", …" : ""),
            "see whether they were started, and whether their machines reach that address",
            {}};
  }

  std::string first_difference(const std::vector<Arrival>& arrivals) const {
    for (size_t rank = 1; rank < arrivals.size(); ++rank) {
      auto differs = difference(agreed_,
                                arrivals[rank].agreed,
                                static_cast<int>(rank),
                                arrivals[0].host,
                                arrivals[rank].host);
      if (!differs.empty()) return differs;
    }
    return {};
  }

  Result<Meeting> begin(const std::vector<Arrival>& arrivals) {
    std::string seen;  // this machine's address as other machines have it
    for (const auto& arrival : arrivals) {
      if (seen.empty() && !is_loopback(arrival.ends.peer)) seen = arrival.ends.peer;
    }
    Meeting meeting{store_, {}, data_address(arrivals[0].ends.own, seen)};
    for (const auto& arrival : arrivals) meeting.hosts.push_back(arrival.host);
    std::vector<std::string> lines = {"begin", seen};
    lines.insert(lines.end(), meeting.hosts.begin(), meeting.hosts.end());
    store_->set("verdict", join_lines(lines));
    return meeting;
  }

  // The others hear it, too, before the store closes.
  tl::unexpected<Error> end(Error error) {
    int64_t present = 0;
    for (int rank = 1; rank < options_.size; ++rank) {
      present += store_->check({rank_key("here", rank)}) ? 1 : 0;
    }
    store_->set(
        "verdict",
        join_lines(
            {"end", std::to_string(static_cast<int>(error.code)), error.message, error.hint}));
    const auto deadline = Clock::now() + kLastWords;
    while (store_->add("heard", 0) < present && Clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return tl::unexpected(std::move(error));
  }

  const GroupOptions& options_;
  const Agreed& agreed_;
  c10::intrusive_ptr<c10d::Store> store_;
};

// --- Every other rank ---

// c10d's client waits for the first answer as long as it takes, and that is long where a launcher listens for a
// rank 0 that is not up yet. So a thread makes it, which is left behind when this rank is to stop.
Result<c10::intrusive_ptr<c10d::Store>> connect_to_store(const GroupOptions& options,
                                                         Clock::time_point deadline) {
  c10d::TCPStoreOptions store;
  store.port = options.master_port;
  store.waitWorkers = false;
  // Who comes at the last moment needs some for what is said now, all the same.
  store.timeout = std::max<std::chrono::milliseconds>(until(deadline), kVerdictDelay);
  using Client = c10::intrusive_ptr<c10d::Store>;
  std::packaged_task<Client()> connect([host = options.master_host, store]() -> Client {
    return c10::make_intrusive<c10d::TCPStore>(host, store);
  });
  auto client = connect.get_future();
  std::thread(std::move(connect)).detach();
  while (client.wait_for(kLookForStop) != std::future_status::ready) {
    if (options.stop.stop_requested()) return stopped();
    if (Clock::now() >= deadline + kVerdictDelay) return no_word();
  }
  return client.get();
}

Result<Meeting> join_host(const GroupOptions& options, const Agreed& agreed) {
  const auto deadline = Clock::now() + options.join_timeout;
  auto ends = reach(options.master_host, options.master_port, deadline, options.stop);
  if (!ends && ends.error().code == ErrorCode::kCancelled) return tl::unexpected(ends.error());
  if (!ends) {
    return fail(ErrorCode::kIo,
                fmt::format("rank {}: nobody listened at rank 0's place for {}: {}",
                            options.rank,
                            seconds_text(options.join_timeout),
                            ends.error().message),
                "see whether rank 0 was started, and whether this machine reaches that address");
  }
  const auto store = ATOLL_TRY(connect_to_store(options, deadline));
  const auto last = deadline + kVerdictDelay;
  if (!ATOLL_TRY(wait_for_keys(*store, {"size"}, last, options.stop))) return no_word();
  const std::string size = store->get_to_str("size");
  if (size != std::to_string(options.size)) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("rank 0 is one of {} ranks, but this one, rank {}, one of {}",
                            size,
                            options.rank,
                            options.size),
                "start all ranks with the same number of ranks");
  }
  if (store->add(rank_key("claim", options.rank), 1) > 1) {
    return fail(
        ErrorCode::kInvalidInput,
        fmt::format("rank {} is there already: this one, on {}, is the second of that number",
                    options.rank,
                    host_name()),
        "give every process a rank of its own");
  }
  store->set(rank_key("here", options.rank), to_text({host_name(), *ends, agreed}));
  if (!ATOLL_TRY(wait_for_keys(*store, {"verdict"}, last, options.stop))) return no_word();
  const auto verdict = split_lines(store->get_to_str("verdict"));
  if (verdict.size() >= 2 && verdict[0] == "begin") {
    Meeting meeting{store, {}, data_address(ends->own, verdict[1])};
    meeting.hosts.assign(verdict.begin() + 2, verdict.end());
    return meeting;
  }
  store->add("heard", 1);
  if (verdict.size() < 4) return fail(ErrorCode::kInternal, "rank 0's verdict is damaged");
  return fail(static_cast<ErrorCode>(std::atoi(verdict[1].c_str())), verdict[2], verdict[3]);
}

}  // namespace

Result<Meeting> meet(const GroupOptions& options, const Agreed& agreed) {
  if (options.rank < 0 || options.rank >= options.size) {
    return fail(ErrorCode::kInvalidInput,
                fmt::format("rank {} of {}: ranks count from 0 to {}",
                            options.rank,
                            options.size,
                            options.size - 1));
  }
  try {
    return options.rank == 0 ? Host(options, agreed).run() : join_host(options, agreed);
  } catch (const std::exception& error) {
    return fail(ErrorCode::kIo,
                fmt::format("rank {} lost rank 0 at {}:{} before the job began: {}",
                            options.rank,
                            options.master_host,
                            options.master_port,
                            first_line(error.what())),
                "see why rank 0 ended");
  }
}

}  // namespace atl::parallel
