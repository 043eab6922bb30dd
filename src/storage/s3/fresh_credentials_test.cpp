#include "storage/s3/fresh_credentials.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace atl::storage {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// Its answers wait until the test lets them go.
class SlowProvider : public CredentialsProvider {
 public:
  Result<std::shared_ptr<const Credentials>> get() override {
    std::unique_lock lock(mutex_);
    ++asked_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return allowed_ > 0; });
    --allowed_;
    if (fails_) return fail(ErrorCode::kIo, "no answer");
    auto credentials = std::make_shared<Credentials>();
    credentials->access_key_id = std::to_string(asked_);
    credentials->expires = expires_;
    return credentials;
  }
  void refused(const Credentials&) override { ++refusals_; }

  void allow(int answers) {
    const std::lock_guard lock(mutex_);
    allowed_ += answers;
    changed_.notify_all();
  }
  void wait_until_asked(int times) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_ >= times; });
  }
  void set_expiry(std::chrono::system_clock::time_point expires) {
    const std::lock_guard lock(mutex_);
    expires_ = expires;
  }
  void set_fails(bool fails) {
    const std::lock_guard lock(mutex_);
    fails_ = fails;
  }
  int refusals() const { return refusals_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int asked_ = 0;
  int allowed_ = 0;
  bool fails_ = false;
  std::optional<std::chrono::system_clock::time_point> expires_;
  std::atomic<int> refusals_ = 0;
};

class FreshCredentialsTest : public testing::Test {
 protected:
  FreshCredentials::Now clock() {
    return [this] { return std::chrono::system_clock::time_point(seconds(now_.load())); };
  }
  std::string get() {
    std::promise<std::string> promise;
    fresh_.get([&](Result<FreshCredentials::Found> found) {
      promise.set_value(found ? (*found)->access_key_id : found.error().message);
    });
    return promise.get_future().get();
  }

  std::atomic<int64_t> now_ = 1'000'000;
  std::shared_ptr<SlowProvider> provider_ = std::make_shared<SlowProvider>();
  FreshCredentials fresh_{provider_, clock()};
};

TEST_F(FreshCredentialsTest, many_who_wait_are_one_question) {
  std::vector<std::promise<std::string>> promises(5);
  for (auto& promise : promises) {
    fresh_.get(
        [&](Result<FreshCredentials::Found> found) { promise.set_value((*found)->access_key_id); });
  }
  provider_->allow(1);
  for (auto& promise : promises) EXPECT_EQ(promise.get_future().get(), "1");
  EXPECT_EQ(get(), "1");
}

TEST_F(FreshCredentialsTest, what_is_there_serves_while_the_provider_is_asked_again) {
  provider_->allow(1);
  EXPECT_EQ(get(), "1");
  now_ += 61;
  EXPECT_EQ(get(), "1");
  provider_->wait_until_asked(2);
  EXPECT_EQ(get(), "1");
  provider_->allow(1);
}

TEST_F(FreshCredentialsTest, what_is_about_to_end_is_not_given_any_more) {
  provider_->set_expiry(clock()() + minutes(2));
  provider_->allow(2);
  EXPECT_EQ(get(), "1");
  now_ += 100;
  EXPECT_EQ(get(), "2");
}

TEST_F(FreshCredentialsTest, refused_ones_are_not_given_again) {
  provider_->allow(2);
  EXPECT_EQ(get(), "1");
  std::promise<FreshCredentials::Found> promise;
  fresh_.get([&](auto found) { promise.set_value(*found); });
  const auto first = promise.get_future().get();
  fresh_.refused(first);
  EXPECT_EQ(provider_->refusals(), 1);
  EXPECT_EQ(get(), "2");
  fresh_.refused(first);
  EXPECT_EQ(get(), "2");
}

TEST_F(FreshCredentialsTest, a_failure_is_told_and_asked_about_again) {
  provider_->set_fails(true);
  provider_->allow(1);
  EXPECT_EQ(get(), "no answer");
  provider_->set_fails(false);
  provider_->allow(1);
  EXPECT_EQ(get(), "2");
}

TEST(FreshCredentials, its_end_does_not_wait_for_the_provider) {
  const auto provider = std::make_shared<SlowProvider>();
  std::promise<Result<FreshCredentials::Found>> promise;
  {
    FreshCredentials fresh(provider, [] { return std::chrono::system_clock::now(); });
    fresh.get([&](auto found) { promise.set_value(std::move(found)); });
    provider->wait_until_asked(1);
  }
  EXPECT_EQ(promise.get_future().get().error().code, ErrorCode::kCancelled);
  provider->allow(1);
}

}  // namespace
}  // namespace atl::storage
