#include "storage/s3/refreshing_credentials.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>

#include "storage/s3/timestamps.h"

namespace atl::storage {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// A source whose answers the test lays down, a clock that it turns, and a background that it runs.
class RefreshingCredentialsTest : public testing::Test {
 protected:
  void will_give(const std::string& key, std::optional<seconds> lifetime) {
    answers_.push_back([this, key, lifetime]() -> Result<FetchedCredentials> {
      FetchedCredentials fetched{.keys = {key, "SECRET", "TOKEN", {}}, .look_again = {}};
      if (lifetime) fetched.keys.expires = now_ + *lifetime;
      return fetched;
    });
  }
  void will_fail() {
    answers_.push_back(
        []() -> Result<FetchedCredentials> { return fail(ErrorCode::kIo, "no answer"); });
  }

  Result<FetchedCredentials> fetch() {
    ++fetches_;
    if (answers_.empty()) return fail(ErrorCode::kIo, "nobody was to ask");
    const auto answer = answers_.front();
    answers_.pop_front();
    return answer();
  }

  std::string key() {
    const auto keys = credentials_.get();
    return keys ? (*keys)->access_key_id : keys.error().message;
  }

  void run_background() {
    const auto tasks = std::exchange(tasks_, {});
    for (const auto& task : tasks) task();
  }

  std::chrono::system_clock::time_point now_ = parse_rfc3339("2026-06-01T12:00:00Z").value();
  std::deque<std::function<Result<FetchedCredentials>()>> answers_;
  std::vector<std::function<void()>> tasks_;
  int fetches_ = 0;
  RefreshingCredentials credentials_{[this] { return fetch(); },
                                     [this] { return now_; },
                                     [this](std::function<void()> task) {
                                       tasks_.push_back(std::move(task));
                                       return true;
                                     }};
};

TEST_F(RefreshingCredentialsTest, are_fetched_once_while_they_hold) {
  will_give("one", hours(1));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(key(), "one");
  now_ += minutes(44);
  EXPECT_EQ(key(), "one");
  EXPECT_EQ(fetches_, 1);
  EXPECT_TRUE(tasks_.empty());
}

TEST_F(RefreshingCredentialsTest, without_an_end_are_never_fetched_again) {
  will_give("one", std::nullopt);
  EXPECT_EQ(key(), "one");
  now_ += hours(24 * 365);
  EXPECT_EQ(key(), "one");
  EXPECT_TRUE(tasks_.empty());
}

TEST_F(RefreshingCredentialsTest, serve_on_while_new_ones_are_fetched) {
  will_give("one", hours(1));
  will_give("two", hours(1));
  EXPECT_EQ(key(), "one");
  now_ += minutes(46);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(key(), "one");
  ASSERT_EQ(tasks_.size(), 1U);
  run_background();
  EXPECT_EQ(key(), "two");
  EXPECT_EQ(fetches_, 2);
}

TEST_F(RefreshingCredentialsTest, serve_on_while_no_new_ones_can_be_had) {
  will_give("one", hours(1));
  EXPECT_EQ(key(), "one");
  now_ += minutes(46);
  will_fail();
  EXPECT_EQ(key(), "one");
  run_background();
  EXPECT_EQ(key(), "one");
  EXPECT_TRUE(tasks_.empty());  // not again at once
  now_ += seconds(61);
  will_give("two", hours(1));
  EXPECT_EQ(key(), "one");
  run_background();
  EXPECT_EQ(key(), "two");
}

TEST_F(RefreshingCredentialsTest, are_waited_for_shortly_before_the_end) {
  will_give("one", hours(1));
  EXPECT_EQ(key(), "one");
  now_ += minutes(59) + seconds(30);
  will_give("two", hours(1));
  EXPECT_EQ(key(), "two");
}

TEST_F(RefreshingCredentialsTest, are_used_to_the_last_second_where_there_are_no_others) {
  will_give("one", hours(1));
  EXPECT_EQ(key(), "one");
  now_ += minutes(59) + seconds(30);
  will_fail();
  EXPECT_EQ(key(), "one");
  EXPECT_EQ(key(), "one");
  EXPECT_EQ(fetches_, 2);  // each request that waits would be late
  now_ += seconds(31);
  will_give("two", hours(1));
  EXPECT_EQ(key(), "two");
}

TEST_F(RefreshingCredentialsTest, fail_once_a_second_where_there_are_none) {
  will_fail();
  EXPECT_EQ(key(), "no answer");
  EXPECT_EQ(key(), "no answer");
  EXPECT_EQ(fetches_, 1);
  now_ += seconds(1);
  will_give("one", hours(1));
  EXPECT_EQ(key(), "one");
}

TEST_F(RefreshingCredentialsTest, of_a_short_life_are_renewed_in_its_last_quarter) {
  will_give("one", seconds(40));
  EXPECT_EQ(key(), "one");
  now_ += seconds(29);
  EXPECT_EQ(key(), "one");
  EXPECT_TRUE(tasks_.empty());
  now_ += seconds(2);
  EXPECT_EQ(key(), "one");
  EXPECT_EQ(tasks_.size(), 1U);
}

TEST_F(RefreshingCredentialsTest, of_no_life_at_all_are_fetched_for_each_request) {
  will_give("one", seconds(0));
  EXPECT_EQ(key(), "the credentials that were given have ended already");
  now_ += seconds(1);
  answers_.push_back([this]() -> Result<FetchedCredentials> {
    return FetchedCredentials{{"two", "SECRET", "", now_ + std::chrono::milliseconds(1)}, {}};
  });
  EXPECT_EQ(key(), "two");
  now_ += std::chrono::milliseconds(2);
  will_give("three", hours(1));
  EXPECT_EQ(key(), "three");
}

TEST_F(RefreshingCredentialsTest, given_again_unchanged_are_asked_for_less_and_less_apart) {
  // The instance metadata service has new keys only five minutes before the old ones end.
  const auto end = now_ + hours(6);
  const auto same = [end]() -> Result<FetchedCredentials> {
    return FetchedCredentials{{"one", "SECRET", "", end}, {}};
  };
  answers_.assign(10, same);
  EXPECT_EQ(key(), "one");
  now_ += hours(6) - minutes(14);
  EXPECT_EQ(key(), "one");
  run_background();
  EXPECT_EQ(key(), "one");
  EXPECT_TRUE(tasks_.empty());
  now_ += minutes(11);
  EXPECT_EQ(key(), "one");
  EXPECT_EQ(tasks_.size(), 1U);
}

TEST_F(RefreshingCredentialsTest, of_a_file_are_looked_at_again) {
  answers_.push_back([]() -> Result<FetchedCredentials> {
    return FetchedCredentials{{"one", "SECRET", "TOKEN", {}}, seconds(300)};
  });
  EXPECT_EQ(key(), "one");
  now_ += seconds(301);
  will_give("two", std::nullopt);
  EXPECT_EQ(key(), "one");
  run_background();
  EXPECT_EQ(key(), "two");
}

TEST_F(RefreshingCredentialsTest, serve_on_where_no_thread_can_be_started) {
  RefreshingCredentials credentials(
      [this] { return fetch(); }, [this] { return now_; }, [](const auto&) { return false; });
  will_give("one", hours(1));
  EXPECT_EQ((*credentials.get())->access_key_id, "one");
  now_ += minutes(50);
  EXPECT_EQ((*credentials.get())->access_key_id, "one");
  now_ += minutes(10);
  will_give("two", hours(1));
  EXPECT_EQ((*credentials.get())->access_key_id, "two");
}

TEST_F(RefreshingCredentialsTest, that_a_server_refuses_are_replaced_at_once) {
  will_give("one", hours(1));
  EXPECT_EQ(key(), "one");
  will_give("two", hours(1));
  credentials_.refused(**credentials_.get());
  EXPECT_EQ(key(), "two");
  EXPECT_EQ(fetches_, 2);
}

TEST_F(RefreshingCredentialsTest, are_not_replaced_because_older_ones_were_refused) {
  will_give("one", hours(1));
  EXPECT_EQ(key(), "one");
  credentials_.refused({"zero", "SECRET", "TOKEN", {}});
  EXPECT_EQ(key(), "one");
  EXPECT_EQ(fetches_, 1);
}

TEST_F(RefreshingCredentialsTest, that_are_refused_and_have_no_others_are_asked_for_once_a_minute) {
  for (int i = 0; i < 2; ++i) will_give("one", hours(1));
  EXPECT_EQ(key(), "one");
  for (int i = 0; i < 5; ++i) {
    credentials_.refused(**credentials_.get());
    EXPECT_EQ(key(), "one");
  }
  EXPECT_EQ(fetches_, 2);
  now_ += seconds(61);
  will_fail();
  credentials_.refused(**credentials_.get());
  EXPECT_EQ(key(), "one");  // they may hold elsewhere
  EXPECT_EQ(fetches_, 3);
}

TEST(RefreshingCredentialsThreads, may_end_while_the_background_fetches) {
  // What the fetch uses outlives the provider with it.
  struct Shared {
    std::atomic<int64_t> now_s = 0;
    std::atomic<bool> fetching = false;
    std::atomic<bool> go_on = false;
    std::atomic<bool> done = false;
  };
  const auto shared = std::make_shared<Shared>();
  const auto clock = [shared] {
    return std::chrono::system_clock::time_point(seconds(shared->now_s));
  };
  auto credentials = std::make_unique<RefreshingCredentials>(
      [shared, clock]() -> Result<FetchedCredentials> {
        if (shared->now_s > 0) {
          shared->fetching = true;
          while (!shared->go_on) std::this_thread::yield();
        }
        FetchedCredentials fetched{{"one", "SECRET", "", clock() + hours(1)}, {}};
        if (shared->now_s > 0) shared->done = true;
        return fetched;
      },
      clock);
  ASSERT_TRUE(credentials->get().has_value());
  shared->now_s = 3600 - 600;
  ASSERT_TRUE(credentials->get().has_value());
  while (!shared->fetching) std::this_thread::yield();
  credentials.reset();  // returns although the fetch goes on
  EXPECT_FALSE(shared->done);
  shared->go_on = true;
  while (!shared->done) std::this_thread::yield();
}

TEST(RefreshingCredentialsThreads, many_that_wait_share_one_fetch) {
  constexpr int kThreads = 8;
  std::atomic<int> fetches = 0;
  std::atomic<int> asking = 0;
  RefreshingCredentials credentials(
      [&]() -> Result<FetchedCredentials> {
        ++fetches;
        // Nobody is answered before all have come.
        while (asking < kThreads) std::this_thread::yield();
        return FetchedCredentials{{"one", "SECRET", "", {}}, {}};
      },
      [] { return std::chrono::system_clock::time_point{}; });
  std::vector<std::jthread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      ++asking;
      const auto keys = credentials.get();
      if (keys && (*keys)->access_key_id == "one") ++right;
    });
  }
  threads.clear();
  EXPECT_EQ(right, kThreads);
  EXPECT_EQ(fetches, 1);
}

TEST(RefreshingCredentialsThreads, a_thread_renews_them_while_others_read) {
  std::atomic<int64_t> now_s = 0;
  std::atomic<int> fetches = 0;
  const auto clock = [&] { return std::chrono::system_clock::time_point(seconds(now_s)); };
  RefreshingCredentials credentials(
      [&]() -> Result<FetchedCredentials> {
        return FetchedCredentials{{std::to_string(++fetches), "SECRET", "", clock() + hours(1)},
                                  {}};
      },
      clock);
  for (int renewal = 1; renewal <= 20; ++renewal) {
    ASSERT_TRUE(credentials.get().has_value());
    now_s += 3600 - 600;
    // The first finds them due and goes on with the old ones; some later one has the new.
    while (true) {
      const auto keys = credentials.get();
      ASSERT_TRUE(keys.has_value());
      if ((*keys)->access_key_id == std::to_string(renewal + 1)) break;
      ASSERT_EQ((*keys)->access_key_id, std::to_string(renewal));
      std::this_thread::yield();
    }
  }
  EXPECT_EQ(fetches, 21);
}

}  // namespace
}  // namespace atl::storage
