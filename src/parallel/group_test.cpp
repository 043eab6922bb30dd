// The ranks are processes, forked by a program without threads: see forked_ranks.h.
#include "parallel/group.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <stop_token>
#include <thread>

#include "base/check.h"
#include "parallel/address.h"
#include "parallel/forked_ranks.h"
#include "parallel/group_impl.h"
#include "parallel/rank_semaphore.h"
#include "parallel/rank_text.h"
#include "trace/trace.h"

namespace atl::parallel {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::UnorderedElementsAre;

const Agreed kAgreed = {{"train.steps", "400"}, {"train.seed", "7"}};

// What came of it, as text: the body's own, or the error.
std::string in_group(const GroupOptions& options,
                     const std::function<Result<std::string>(Group&)>& body,
                     const Agreed& agreed = kAgreed) {
  at::set_num_threads(1);
  auto group = Group::join(options, at::kCPU, agreed);
  if (!group) return "not joined: " + group.error().to_string();
  auto result = body(*group);
  if (result) {
    const auto finished = group->finish();
    if (!finished) return "not finished: " + finished.error().to_string();
    return *std::move(result);
  }
  group->end_with(result.error());
  return "error: " + result.error().to_string();
}

std::string here(int rank) { return fmt::format("rank {} on {}", rank, host_name()); }

TEST(Group, of_one_process_does_nothing) {
  Group group;
  EXPECT_EQ(group.rank(), 0);
  EXPECT_EQ(group.size(), 1);
  EXPECT_TRUE(group.sum({}, "nothing"));
  EXPECT_EQ(*group.broadcast("text", "a text"), "text");
  EXPECT_EQ(group.gather("text", "a text")->size(), 1);
  EXPECT_TRUE(group.barrier("a barrier"));
  EXPECT_TRUE(*group.any(true, "a question"));
  EXPECT_FALSE(*group.any(false, "a question"));
  EXPECT_TRUE(group.finish());
  EXPECT_FALSE(group.failure());
}

class GroupOf : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, GroupOf, testing::Values(1, 2, 4));

TEST_P(GroupOf, N_ranks_sums_broadcasts_and_gathers) {
  const int size = GetParam();
  const auto ends = run_ranks({.size = size}, [&](const GroupOptions& options) {
    return in_group(options, [&](Group& group) -> Result<std::string> {
      const int rank = group.rank();
      // More elements than ranks and fewer, whole numbers, channels-last.
      const at::Tensor floats = at::full({1000}, rank + 1.0F);
      const at::Tensor whole = at::full({1}, int64_t{1} << (40 + rank), at::kLong);
      const at::Tensor layered = at::arange(2 * 3 * 4 * 5, at::kFloat)
                                     .view({2, 3, 4, 5})
                                     .contiguous(at::MemoryFormat::ChannelsLast);
      ATOLL_TRY(group.sum(floats, "floats"));
      ATOLL_TRY(group.sum(whole, "whole numbers"));
      ATOLL_TRY(group.sum(layered, "layered"));
      const std::vector<at::Tensor> sent = {
          at::full({3, 2}, rank, at::kDouble),
          at::full({}, rank, at::kLong),
          at::full({2, 3, 2, 2}, rank).contiguous(at::MemoryFormat::ChannelsLast)};
      ATOLL_TRY(group.broadcast(sent, "tensors"));
      double of_others = 0;
      for (const auto& tensor : sent) of_others += tensor.sum().item<double>();
      const std::string text = ATOLL_TRY(group.broadcast(fmt::format("from {}", rank), "a text"));
      const std::string own(static_cast<size_t>(rank) * 3, static_cast<char>('a' + rank));
      const auto gathered = ATOLL_TRY(group.gather(own, "texts"));
      const auto everywhere = ATOLL_TRY(group.all_gather(own, "texts"));
      const auto none = ATOLL_TRY(group.all_gather("", "nothing"));
      ATOLL_TRY(group.barrier("a barrier"));
      return fmt::format("{} {} {} {} {} {} {} {} {}",
                         (floats == floats[0]).all().item<bool>() ? floats[0].item<float>() : -1.0F,
                         whole.item<int64_t>() >> 40,
                         layered[1][2][3][4].item<float>(),
                         of_others,
                         text,
                         group.host(),
                         fmt::join(gathered, ","),
                         fmt::join(everywhere, ","),
                         none.size());
    });
  });
  ASSERT_EQ(ends.size(), static_cast<size_t>(size));
  const std::map<int, std::string> all = {{1, ""}, {2, ",bbb"}, {4, ",bbb,cccccc,ddddddddd"}};
  for (const auto& [rank, end] : ends) {
    EXPECT_EQ(end.text,
              fmt::format("{} {} {} 0 from 0 {} {} {} {}",
                          size * (size + 1) / 2,
                          (1 << size) - 1,
                          119 * size,
                          size == 1 ? "" : host_name(),
                          rank == 0 ? all.at(size) : "",
                          all.at(size),
                          size))
        << rank;
  }
}

TEST_P(GroupOf, N_ranks_know_what_any_of_them_answers) {
  const int size = GetParam();
  const auto ends = run_ranks({.size = size}, [&](const GroupOptions& options) {
    return in_group(options, [&](Group& group) -> Result<std::string> {
      std::string answers;
      for (int one = -1; one < size; ++one) {
        answers += ATOLL_TRY(group.any(one == group.rank(), "a question")) ? 'y' : 'n';
      }
      answers += ATOLL_TRY(group.any(true, "a question")) ? 'y' : 'n';
      return answers;
    });
  });
  for (const auto& [rank, end] : ends) {
    EXPECT_EQ(end.text, 'n' + std::string(static_cast<size_t>(size) + 1, 'y')) << rank;
  }
}

// Twelve are summed in rings of six, then of two.
TEST(Group, of_many_ranks_sums_few_numbers_in_short_rings_to_the_same_bits) {
  const auto ends = run_ranks({.size = 12}, [&](const GroupOptions& options) {
    return in_group(options, [&](Group& group) -> Result<std::string> {
      const at::Tensor whole = at::full({3}, int64_t{1} << group.rank(), at::kLong);
      const at::Tensor thirds = at::full({100}, 1.0F / static_cast<float>(3 + group.rank()));
      const at::Tensor many = at::ones({100'000});  // more than go in short rings
      ATOLL_TRY(group.sum(whole, "whole numbers"));
      ATOLL_TRY(group.sum(thirds, "fractions"));
      ATOLL_TRY(group.sum(many, "many numbers"));
      const bool last = ATOLL_TRY(group.any(group.rank() == 11, "a question"));
      const bool none = ATOLL_TRY(group.any(false, "a question"));
      return fmt::format("{} {:.9g} {} {} {}",
                         whole[2].item<int64_t>(),
                         thirds[99].item<float>(),
                         many.sum().item<float>(),
                         last,
                         none);
    });
  });
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(end.text, AllOf(StartsWith("4095 1."), HasSubstr(" 1200000 true false"))) << rank;
    EXPECT_EQ(end.text, ends.at(0).text) << rank;
  }
}

TEST(Group, of_many_ranks_names_one_that_is_lost_in_a_ring_of_others) {
  const RankJob job{.size = 12, .hearing = kHearingOfKilled};
  const auto ends = run_ranks(job, [&](const GroupOptions& options) {
    return in_group(options, [&](Group& group) -> Result<std::string> {
      for (int i = 0; i < 50; ++i) {
        if (i == 3 && group.rank() == 7) ::raise(SIGKILL);
        ATOLL_TRY(group.sum(at::ones({1}), "a sum of one number"));
      }
      return "done";
    });
  });
  for (const auto& [rank, end] : ends) {
    if (rank == 7) continue;
    EXPECT_THAT(end.text, HasSubstr("rank 7 on ")) << rank;
    EXPECT_THAT(end.text, HasSubstr("was lost in a sum of one number")) << rank;
  }
}

TEST(Group, every_collective_has_its_span) {
  const auto ends = run_ranks({.size = 2}, [&](const GroupOptions& options) {
    trace::Tracer tracer;
    GroupOptions traced = options;
    traced.tracer = &tracer;
    in_group(traced, [&](Group& group) -> Result<std::string> {
      ATOLL_TRY(group.sum(at::ones({3}), "a sum of ours"));
      return std::string();
    });
    return tracer.to_json();
  });
  for (const auto& [rank, end] : ends) {
    for (const char* name : {"the start", "a sum of ours", "the end"}) {
      EXPECT_THAT(end.text, HasSubstr(fmt::format("\"name\": \"{}\"", name))) << rank;
    }
  }
}

TEST(Group, a_configuration_that_differs_is_refused_by_its_key_on_all_ranks) {
  const auto ends = run_ranks({.size = 3}, [&](const GroupOptions& options) {
    Agreed own = kAgreed;
    if (options.rank == 2) own[0].second = "300";
    return in_group(
        options, [](Group&) -> Result<std::string> { return "joined"; }, own);
  });
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(
        end.text,
        AllOf(StartsWith("not joined: "),
              HasSubstr(fmt::format("train.steps is 400 on rank 0 ({0}), but 300 on rank 2 ({0})",
                                    host_name()))))
        << rank;
  }
}

TEST(Group, a_rank_that_does_not_come_is_named_when_the_time_is_up) {
  const RankSemaphore coming;
  const auto ends = run_ranks({.size = 4, .present = {0, 2}}, [&](const GroupOptions& given) {
    GroupOptions options = given;
    // Rank 0's time begins when the other one is on its way.
    if (options.rank == 0) {
      options.join_timeout = std::chrono::milliseconds(2500);
      coming.acquire();
    } else {
      coming.release();
    }
    return in_group(options, [](Group&) -> Result<std::string> { return "joined"; });
  });
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(end.text, HasSubstr("2 of 4 ranks had not come to 127.0.0.1:")) << rank;
    EXPECT_THAT(end.text, HasSubstr("after 2.5 s: ranks 1, 3")) << rank;
  }
}

TEST(Group, without_rank_0_the_others_say_where_they_looked_for_it) {
  const auto ends =
      run_ranks({.size = 2, .present = {1}, .join_timeout = std::chrono::milliseconds(500)},
                [&](const GroupOptions& options) {
                  return in_group(options, [](Group&) -> Result<std::string> { return "joined"; });
                });
  EXPECT_THAT(ends.at(1).text,
              AllOf(HasSubstr("rank 1: nobody listened at rank 0's place for 0.5 s: 127.0.0.1:"),
                    HasSubstr("Connection refused")));
}

// Four processes, of which two are rank 1. The others meet, and do not end before the second one has come.
TEST(Group, a_rank_that_is_there_twice_is_told_so) {
  const RankSemaphore told;
  const auto ends = run_ranks({.size = 4}, [&](const GroupOptions& given) {
    GroupOptions options = given;
    options.size = 3;
    if (options.rank == 3) options.rank = 1;
    auto text = in_group(options, [&](Group& group) -> Result<std::string> {
      if (group.first()) told.acquire();
      return "joined";
    });
    if (text != "joined") told.release();
    return text;
  });
  EXPECT_EQ(ends.at(0).text, "joined");
  EXPECT_EQ(ends.at(2).text, "joined");
  const std::vector<std::string> twice = {ends.at(1).text, ends.at(3).text};
  EXPECT_THAT(twice, UnorderedElementsAre("joined", HasSubstr("rank 1 is there already")));
}

// Rank 0, which keeps the store, or another one.
class KilledRank : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Rank, KilledRank, testing::Values(0, 2));

TEST_P(KilledRank, is_named_by_the_others) {
  const RankJob job{.size = 4, .hearing = kHearingOfKilled};
  const auto ends = run_ranks(job, [&](const GroupOptions& options) {
    return in_group(options, [](Group& group) -> Result<std::string> {
      const at::Tensor numbers = at::ones({1 << 16});
      for (int step = 0;; ++step) {
        if (step == 20 && group.rank() == GetParam()) ::raise(SIGKILL);
        ATOLL_TRY(group.sum(numbers, "the sum of the numbers"));
      }
    });
  });
  for (const auto& [rank, end] : ends) {
    if (rank == GetParam()) {
      EXPECT_EQ(end.signal, SIGKILL);
      continue;
    }
    EXPECT_THAT(end.text,
                HasSubstr(here(GetParam()) +
                          " was lost in the sum of the numbers: killed, stopped or cut off"))
        << rank;
  }
}

class StoppedRank : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Rank, StoppedRank, testing::Values(0, 2));

// It closes no connection, so only its silence tells. The others may be in the first barrier still, or in the second.
TEST_P(StoppedRank, is_named_after_its_silence) {
  const RankJob job{.size = 3, .stopped = GetParam(), .silence = std::chrono::seconds(4)};
  const auto ends = run_ranks(job, [&](const GroupOptions& options) {
    return in_group(options, [](Group& group) -> Result<std::string> {
      ATOLL_TRY(group.barrier("a barrier"));
      if (group.rank() == GetParam()) ::raise(SIGSTOP);
      ATOLL_TRY(group.barrier("a barrier"));
      return "passed";
    });
  });
  for (const auto& [rank, end] : ends) {
    if (rank == GetParam()) {
      EXPECT_EQ(end.signal, SIGKILL);  // the others have not waited for its end
      continue;
    }
    EXPECT_THAT(end.text, HasSubstr(here(GetParam()) + " was lost in a barrier")) << rank;
  }
}

// Its machine is cut off, so the store says nothing, and another rank's error nobody hears.
TEST(Group, a_rank_0_that_hangs_keeps_no_other_from_its_end) {
  const RankJob job{.size = 3, .stopped = 0, .silence = std::chrono::seconds(4)};
  const auto ends = run_ranks(job, [](const GroupOptions& options) {
    return in_group(options, [](Group& group) -> Result<std::string> {
      const auto process = ATOLL_TRY(group.broadcast(std::to_string(::getpid()), "a process"));
      ATOLL_TRY(group.barrier("a barrier"));
      if (group.rank() == 1) {
        ::kill(std::stoi(process), SIGSTOP);
        return fail(ErrorCode::kInvalidInput, "17.jpg: truncated JPEG", "repair it");
      }
      ATOLL_TRY(group.barrier("a barrier"));
      return "passed";
    });
  });
  EXPECT_EQ(ends.at(1).text, "error: 17.jpg: truncated JPEG (repair it)");
  EXPECT_THAT(ends.at(2).text, HasSubstr(here(0) + " was lost in a barrier"));
}

TEST(Group, an_error_of_one_rank_is_everyones_end_with_its_own_words) {
  for (const int broken : {0, 1}) {
    const auto ends = run_ranks({.size = 3}, [&](const GroupOptions& options) {
      return in_group(options, [&](Group& group) -> Result<std::string> {
        ATOLL_TRY(group.barrier("a barrier"));
        if (group.rank() == broken) {
          return fail(ErrorCode::kInvalidInput, "17.jpg: truncated JPEG", "repair it");
        }
        ATOLL_TRY(group.barrier("the next one"));
        return "passed";
      });
    });
    for (const auto& [rank, end] : ends) {
      const std::string words = "17.jpg: truncated JPEG (repair it)";
      EXPECT_EQ(end.text,
                rank == broken ? "error: " + words
                               : fmt::format("error: {} failed: {}", here(broken), words));
    }
  }
}

// Rank 2 alone has waited for too long; rank 0 came later, or has more patience. All say the same.
TEST(Group, a_collective_that_times_out_names_who_has_not_come_and_where_that_one_is) {
  const RankSemaphore heard;
  const auto ends = run_ranks({.size = 3}, [&](const GroupOptions& options) {
    return in_group(options, [&](Group& group) -> Result<std::string> {
      ATOLL_TRY(group.barrier("the first barrier"));
      if (group.rank() == 1) {
        heard.acquire();
        heard.acquire();
      }
      if (group.rank() == 2) {
        while (!group.impl().store->get_to_str(rank_key("progress", 0)).ends_with("of four")) {
          std::this_thread::yield();  // rank 0 has not come to it, either
        }
        group.impl().options.timeout = std::chrono::milliseconds(500);
        group.impl().control->setTimeout(group.impl().options.timeout);
      }
      const auto summed = group.sum(at::ones({4}), "the sum of four");
      if (group.rank() != 1) heard.release();
      ATOLL_TRY(summed);
      return "passed";
    });
  });
  for (const auto& [rank, end] : ends) {
    EXPECT_THAT(
        end.text,
        HasSubstr(fmt::format("the sum of four timed out: it was not joined by {}, which is still "
                              "at the first barrier",
                              here(1))))
        << rank;
  }
}

TEST(Group, a_stop_ends_the_wait_for_the_others) {
  for (const int present : {0, 1}) {
    const auto ends = run_ranks(
        {.size = 2, .present = {present}, .join_timeout = std::chrono::hours(1)},
        [&](const GroupOptions& given) {
          std::stop_source stop;
          GroupOptions options = given;
          options.stop = stop.get_token();
          std::jthread stopper([&] { stop.request_stop(); });
          return in_group(options, [](Group&) -> Result<std::string> { return "passed"; });
        });
    EXPECT_THAT(ends.at(present).text,
                AllOf(StartsWith("not joined: "), HasSubstr("stopped before the job began")))
        << present;
  }
}

// A launcher listens for rank 0, which is not up yet: it takes connections, and nobody answers.
TEST(Group, a_stop_ends_the_wait_for_a_rank_0_that_says_nothing) {
  const RankSemaphore connected;
  const RankSemaphore ended;
  const auto ends = run_ranks({.size = 2}, [&](const GroupOptions& given) -> std::string {
    if (given.rank == 0) {
      // The first one asks for its address only.
      const UniqueFd first(::accept4(given.listen_fd, nullptr, nullptr, SOCK_CLOEXEC));
      const UniqueFd second(::accept4(given.listen_fd, nullptr, nullptr, SOCK_CLOEXEC));
      connected.release();
      ended.acquire();
      return "never up";
    }
    std::stop_source stop;
    GroupOptions options = given;
    options.stop = stop.get_token();
    std::jthread stopper([&] {
      connected.acquire();
      stop.request_stop();
    });
    auto text = in_group(options, [](Group&) -> Result<std::string> { return "passed"; });
    ended.release();
    return text;
  });
  EXPECT_EQ(ends.at(1).text, "not joined: stopped before the job began");
}

TEST(Group, on_a_device_without_a_library_is_refused) {
  const auto group =
      Group::join({.rank = 0, .size = 2, .master_port = 1}, at::Device(at::kHPU, 0), {});
  ASSERT_FALSE(group);
  EXPECT_EQ(group.error().code, ErrorCode::kUnsupported);
}

TEST(Address, a_rank_on_rank_0s_machine_is_found_where_the_others_find_that) {
  EXPECT_EQ(data_address("127.0.0.1", ""), "127.0.0.1");
  EXPECT_EQ(data_address("127.0.1.1", "10.0.0.5"), "10.0.0.5");
  EXPECT_EQ(data_address("10.0.0.6", "10.0.0.5"), "10.0.0.6");
  EXPECT_EQ(data_address("::1", "fd00::5"), "fd00::5");
}

}  // namespace
}  // namespace atl::parallel
