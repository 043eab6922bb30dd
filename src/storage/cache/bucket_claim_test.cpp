#include "storage/cache/bucket_claim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>

#include "storage/cache/claim_holder.h"
#include "storage/fake_remote.h"

namespace atl::storage {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class BucketClaimTest : public ::testing::Test {
 protected:
  // A claim whose thread sleeps; what is watched takes no time.
  ClaimOptions quiet() {
    return {.renew_every = 1h, .wait = [this](auto time) {
              waited_ += time;
              if (meanwhile_) meanwhile_();
            }};
  }
  Result<Claim> claim() { return claim_bucket(remote_, lost_, quiet()); }
  // As somebody on another machine would write it.
  void put_foreign(int renewal) {
    remote_->put(
        kClaimKey,
        R"({"host":"node7","process":"0123456789abcdef0123456789abcdef.1.42.9","token":"t"})"
        "\n" +
            std::to_string(renewal) + "\n");
  }

  const std::shared_ptr<FakeRemote> remote_ = std::make_shared<FakeRemote>();
  const std::shared_ptr<std::atomic<bool>> lost_ = std::make_shared<std::atomic<bool>>(false);
  std::chrono::milliseconds waited_{0};
  std::function<void()> meanwhile_;
};

TEST_F(BucketClaimTest, keeps_a_second_writer_out_for_as_long_as_it_lives) {
  {
    const auto first = claim();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->note, "");
    const auto second = claim();
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kInvalidInput);
    EXPECT_THAT(second.error().message, HasSubstr("another run is writing there"));
    EXPECT_THAT(second.error().message, HasSubstr(std::to_string(::getpid())));
  }
  EXPECT_EQ(remote_->content(kClaimKey), std::nullopt);
  EXPECT_TRUE(claim());
  EXPECT_EQ(waited_, 0ms);
}

TEST_F(BucketClaimTest, of_a_process_of_this_machine_that_is_dead_is_taken_over_at_once) {
  // A child that ends without a word: its claim's object stays.
  const auto mine = claim();
  ASSERT_TRUE(mine);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const std::string text = *remote_->content(kClaimKey);
  auto dead = ClaimHolder::from_json(text.substr(0, text.find('\n')));
  ASSERT_TRUE(dead.process);
  dead.process->pid = static_cast<uint64_t>(child);
  remote_->put(kClaimKey, dead.to_json());
  const auto second = claim();
  ASSERT_TRUE(second) << second.error().to_string();
  EXPECT_EQ(waited_, 0ms);
}

TEST_F(BucketClaimTest, of_another_machine_is_respected_while_it_is_renewed) {
  put_foreign(1);
  meanwhile_ = [&] {
    if (waited_ >= 20s) put_foreign(2);
  };
  const auto refused = claim();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("process 42 on node7"));
  EXPECT_LT(waited_, 60s);
}

TEST_F(BucketClaimTest, of_another_machine_is_taken_over_when_it_is_not_renewed_for_a_minute) {
  put_foreign(1);
  const auto taken = claim();
  ASSERT_TRUE(taken);
  EXPECT_THAT(taken->note, HasSubstr("claimed by process 42 on node7"));
  EXPECT_GE(waited_, 58s);
}

TEST_F(BucketClaimTest, that_was_given_up_meanwhile_is_free) {
  put_foreign(1);
  meanwhile_ = [&] { remote_->erase(kClaimKey); };
  EXPECT_TRUE(claim());
  EXPECT_EQ(waited_, 2s);
}

TEST_F(BucketClaimTest, that_another_takes_over_at_the_same_time_is_the_other_s) {
  put_foreign(1);
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (call.starts_with("upload") && waited_ >= 58s && waited_ < 60s) put_foreign(100);
    return std::nullopt;
  });
  meanwhile_ = [&] {
    if (waited_ >= 64s) put_foreign(101);
  };
  EXPECT_EQ(claim().error().code, ErrorCode::kInvalidInput);
}

TEST_F(BucketClaimTest, rubbish_in_its_place_is_a_holder_that_says_nothing) {
  for (const char* text : {"", "x", "{}", "[1]", "{\"host\":1,\"process\":\"a\"}"}) {
    remote_->put(kClaimKey, text);
    const auto taken = claim();
    ASSERT_TRUE(taken) << text;
    EXPECT_THAT(taken->note, HasSubstr("an unknown program"));
  }
}

TEST_F(BucketClaimTest, a_server_without_conditional_put_keeps_nobody_out_and_says_so) {
  remote_->set_fault([](std::string_view) -> std::optional<Error> {
    return Error{ErrorCode::kUnsupported, "501", {}, {}};
  });
  const auto claimed = claim();
  ASSERT_TRUE(claimed);
  EXPECT_EQ(claimed->guard, nullptr);
  EXPECT_THAT(claimed->note, HasSubstr("knows no conditional PUT"));
}

TEST_F(BucketClaimTest, is_renewed_and_its_holder_told_when_it_is_another_s) {
  std::promise<void> renewed;
  std::promise<void> taken;
  int uploads = 0;
  remote_->set_fault([&](std::string_view call) -> std::optional<Error> {
    if (!call.starts_with("upload")) return std::nullopt;
    if (++uploads == 3) renewed.set_value();
    return std::nullopt;
  });
  auto options = quiet();
  options.renew_every = 1ms;
  auto claimed = claim_bucket(remote_, lost_, options);
  ASSERT_TRUE(claimed);
  renewed.get_future().wait();
  EXPECT_FALSE(*lost_);
  put_foreign(1);
  // The holder notices with its next renewal, and goes on no further.
  while (!*lost_) std::this_thread::yield();
  claimed->guard.reset();
  EXPECT_NE(remote_->content(kClaimKey), std::nullopt);  // it is not his to remove
}

}  // namespace
}  // namespace atl::storage
