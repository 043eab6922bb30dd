// Who lists what, where several are at it: the threads of an import, an import and a reader.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "base/keyed_random.h"
#include "storage/namespace/names_fixture.h"
#include "storage/namespace/namespace.h"

namespace atl::storage {
namespace {

using ListingTest = NamesFixture;

// LISTs after the first few wait a while for others to be under way, too, until so many have met once. Where none ever
// come, each has waited in vain.
class MeetingPlace {
 public:
  MeetingPlace(FakeRemote& remote, int after, int together) : together_(together) {
    remote.set_fault([this, after](std::string_view call) -> std::optional<Error> {
      if (call.starts_with("list") && ++lists_ > after) wait();
      return std::nullopt;
    });
  }
  bool have_met() const { return have_met_; }

 private:
  void wait() {
    std::unique_lock lock(mutex_);
    if (++under_way_ >= together_) have_met_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, std::chrono::milliseconds(200), [this] { return have_met_.load(); });
    --under_way_;
  }

  const int together_;
  std::atomic<int> lists_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  int under_way_ = 0;
  std::atomic<bool> have_met_ = false;
};

TEST_F(ListingTest, one_directory_is_listed_in_several_places_at_once) {
  for (const bool in_folders : {false, true}) {
    remote_ = std::make_shared<FakeRemote>();
    remote_->set_page_keys(10);
    for (int i = 0; i < 1000; ++i) {
      const std::string number = std::to_string(10'000 + i).substr(1);
      remote_->put("many/" + (in_folders ? number.substr(0, 3) + "/" + number : number), "x");
    }
    MeetingPlace lists(*remote_, 10, 3);
    std::filesystem::remove_all(directory_ + "/names");
    auto names = open();
    const auto counts = import_all(*names);
    EXPECT_TRUE(lists.have_met()) << in_folders;
    EXPECT_EQ(counts.listed, 1000U);
    EXPECT_LE(counts.requests, 140U);
    EXPECT_EQ(keys_of(*names, "").size(), 1000U);
  }
}

// Whoever comes first to the top: the import is not held up by a reader that goes from page to page, nor this by it.
TEST_F(ListingTest, an_import_behind_a_reader_lists_in_other_places_meanwhile) {
  remote_->set_page_keys(10);
  put_many("many/", 1500);
  MeetingPlace lists(*remote_, 10, 3);
  auto names = open();
  std::jthread reader([&] { EXPECT_EQ(names_in(*names, "many").size(), 1500U); });
  import_all(*names);
  reader.join();
  EXPECT_TRUE(lists.have_met());
  EXPECT_LE(remote_->counts().lists, 220U);
}

TEST_F(ListingTest, whatever_the_names_are_all_are_listed_with_few_requests_more) {
  KeyedRandom random({7});
  for (const int alphabet : {2, 10, 16, 60, 200}) {
    remote_ = std::make_shared<FakeRemote>();
    remote_->set_page_keys(10);
    std::set<std::string> keys;
    while (keys.size() < 600) {
      std::string key;
      const uint64_t size = 4 + random.below(12);
      for (uint64_t i = 0; i < size; ++i) {
        key += random.below(12) == 0 ? '/' : static_cast<char>('0' + random.below(alphabet));
      }
      if (keys.insert(key).second) remote_->put(key, "x");
    }
    std::filesystem::remove_all(directory_ + "/names");
    auto names = open();
    const auto counts = import_all(*names);
    EXPECT_EQ(keys_of(*names, ""), std::vector<std::string>(keys.begin(), keys.end())) << alphabet;
    EXPECT_LE(counts.requests, 90U) << alphabet;
  }
}

// An import's first LIST is held until a reader has asked the bucket, too, which it should not, or has had the time to.
class ListedTogether : public NamesFixture {
 protected:
  ListedTogether() {
    remote_->set_page_keys(100);
    put_many("", 350);  // so few that nobody begins in another place
    remote_->set_fault([this](std::string_view call) -> std::optional<Error> {
      if (!call.starts_with("list")) return std::nullopt;
      std::unique_lock lock(mutex_);
      const bool is_first = ++lists_ == 1;
      changed_.notify_all();
      if (!is_first) return std::nullopt;
      changed_.wait_for(lock, std::chrono::milliseconds(100), [this] { return lists_ > 1; });
      asked_meanwhile_ = lists_ > 1;
      return first_answer_;
    });
  }
  void wait_for_first_list() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return lists_ > 0; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int lists_ = 0;
  bool asked_meanwhile_ = false;
  std::optional<Error> first_answer_;
};

TEST_F(ListedTogether, an_import_and_a_reader_ask_for_each_page_once) {
  const auto names = open();
  auto imported = std::async(std::launch::async, [&] { return import_all(*names); });
  wait_for_first_list();
  EXPECT_EQ(names_in(*names, "").size(), 350U);
  (void)imported.get();
  EXPECT_FALSE(asked_meanwhile_);
  EXPECT_EQ(lists_, 4);
}

TEST_F(ListedTogether, who_waits_for_a_page_that_does_not_come_asks_for_it_himself) {
  first_answer_ = Error{ErrorCode::kIo, "no answer", {}, {}};
  const auto names = open();
  auto imported = std::async(std::launch::async, [&] { return names->import({}, {}, {}, {}); });
  wait_for_first_list();
  EXPECT_EQ(names_in(*names, "").size(), 350U);
  EXPECT_EQ(error_of(imported.get()), ErrorCode::kIo);
}

}  // namespace
}  // namespace atl::storage
