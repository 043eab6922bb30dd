#include "parallel/gradients.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/check.h"
#include "parallel/forked_ranks.h"
#include "trace/trace.h"

namespace atl::parallel {
namespace {

// Small whole numbers, so that every order of adding gives the same and half precision is exact.
struct Model {
  Model() {
    for (int64_t i = 0; i < 6; ++i) {
      parameters.push_back(at::arange(600 * (i + 1), at::kFloat).remainder(3).requires_grad_());
    }
  }
  // Each rank's data are its number; the gradient of parameter i is (rank + 1) * (i + 1).
  at::Tensor loss(int rank, double weight = 1) const {
    at::Tensor total = at::zeros({});
    for (size_t i = 0; i < parameters.size(); ++i) {
      total = total + parameters[i].sum() * (weight * (rank + 1.0) * (static_cast<double>(i) + 1));
    }
    return total;
  }
  bool gradients_are(double factor) const {
    for (size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& gradient = parameters[i].grad();
      if (!gradient.defined() ||
          !(gradient == factor * (static_cast<double>(i) + 1)).all().item<bool>()) {
        return false;
      }
    }
    return true;
  }
  void clear() {
    for (auto& parameter : parameters) parameter.mutable_grad().reset();
  }
  std::vector<at::Tensor> parameters;
};

std::string in_group(const GroupOptions& options,
                     const std::function<Result<std::string>(Group&)>& body) {
  at::set_num_threads(1);
  auto group = Group::join(options, at::kCPU, {});
  if (!group) return group.error().to_string();
  auto result = body(*group);
  if (result) result = group->finish().map([&] { return *result; });
  if (!result) group->end_with(result.error());
  return result ? *result : result.error().to_string();
}

struct Case {
  int size;
  GradientType type;
};
class GradientsOf : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Ranks,
                         GradientsOf,
                         testing::Values(Case{1, GradientType::kFloat32},
                                         Case{2, GradientType::kFloat32},
                                         Case{4, GradientType::kFloat32},
                                         Case{2, GradientType::kFloat16},
                                         Case{2, GradientType::kBfloat16}));

TEST_P(GradientsOf, N_ranks_are_their_sum_step_for_step) {
  const int size = GetParam().size;
  const auto ends = run_ranks({.size = size}, [&](const GroupOptions& options) {
    return in_group(options, [&](Group& group) -> Result<std::string> {
      Model model;
      // Several buckets.
      auto gradients = ATOLL_TRY(Gradients::make(
          group,
          model.parameters,
          {.type = GetParam().type, .first_bucket_bytes = 1000, .bucket_bytes = 10000}));
      const double ranks = size * (size + 1) / 2.0;
      std::string wrong;
      for (int step = 0; step < 3; ++step) {
        // Two micro-batches, summed with the second.
        model.clear();
        ATOLL_TRY(gradients.backward(model.loss(group.rank()), false));
        if (!model.gradients_are(group.rank() + 1.0)) wrong += fmt::format(" own in {}", step);
        ATOLL_TRY(gradients.backward(model.loss(group.rank(), 2), true));
        if (!model.gradients_are(3 * ranks)) wrong += fmt::format(" sum in {}", step);
        // The second one does not come.
        model.clear();
        ATOLL_TRY(gradients.backward(model.loss(group.rank()), false));
        ATOLL_TRY(gradients.sum());
        if (!model.gradients_are(ranks)) wrong += fmt::format(" late sum in {}", step);
      }
      return "done" + wrong;
    });
  });
  for (const auto& [rank, end] : ends) EXPECT_EQ(end.text, "done") << rank;
}

size_t count(std::string_view text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Gradients, the_sums_of_a_pass_have_their_times_and_every_bucket_its_span) {
  const auto ends = run_ranks({.size = 2}, [&](const GroupOptions& options) {
    trace::Tracer tracer;
    GroupOptions traced = options;
    traced.tracer = &tracer;
    std::string result = in_group(traced, [&](Group& group) -> Result<std::string> {
      Model model;
      // One parameter each: 2,400 bytes and more.
      auto gradients = ATOLL_TRY(Gradients::make(
          group, model.parameters, {.first_bucket_bytes = 1000, .bucket_bytes = 1000}));
      ATOLL_TRY(gradients.backward(model.loss(group.rank()), false));
      if (gradients.sum_times()) return "times before there was a sum";
      for (int pass = 0; pass < 3; ++pass) {
        const auto begin = trace::Clock::now();
        ATOLL_TRY(gradients.backward(model.loss(group.rank()), true));
        const std::chrono::duration<double> whole = trace::Clock::now() - begin;
        const auto times = gradients.sum_times();
        if (!times) return "no times";
        if (!(times->under_way_s > 0 && times->under_way_s <= whole.count())) return "under way";
        if (!(times->alone_s > 0 && times->alone_s <= times->under_way_s)) return "alone";
      }
      return "done";
    });
    return fmt::format("{}, {} spans, {} rows",
                       result,
                       count(tracer.to_json(), "\"sum a bucket\""),
                       count(tracer.to_json(), "\"sums of gradients\"") > 0 ? "named" : "no");
  });
  for (const auto& [rank, end] : ends) EXPECT_EQ(end.text, "done, 18 spans, named rows") << rank;
}

TEST(Gradients, of_one_process_have_no_times) {
  Group group;
  Model model;
  auto gradients = Gradients::make(group, model.parameters);
  ASSERT_TRUE(gradients);
  EXPECT_FALSE(gradients->sum_times());
}

TEST(Gradients, a_rank_lost_in_the_backward_pass_is_named) {
  const RankJob job{.size = 3, .hearing = kHearingOfKilled};
  const auto ends = run_ranks(job, [&](const GroupOptions& options) {
    return in_group(options, [&](Group& group) -> Result<std::string> {
      Model model;
      auto gradients = ATOLL_TRY(Gradients::make(
          group, model.parameters, {.first_bucket_bytes = 1000, .bucket_bytes = 10000}));
      for (int step = 0; step < 50; ++step) {
        model.clear();
        if (step == 3 && group.rank() == 1) ::raise(SIGKILL);
        ATOLL_TRY(gradients.backward(model.loss(group.rank()), true));
      }
      return "done";
    });
  });
  for (const int rank : {0, 2}) {
    EXPECT_THAT(ends.at(rank).text, testing::HasSubstr("was lost in the sum of the gradients"))
        << rank;
    EXPECT_THAT(ends.at(rank).text, testing::StartsWith("rank 1 on ")) << rank;
  }
}

// An exception of the pass itself is not taken for the network's.
TEST(Gradients, an_error_of_the_pass_stays_an_exception) {
  const auto ends = run_ranks({.size = 2}, [&](const GroupOptions& options) {
    return in_group(options, [&](Group& group) -> Result<std::string> {
      Model model;
      auto gradients = ATOLL_TRY(Gradients::make(group, model.parameters));
      try {
        (void)gradients.backward(at::ones({}), true);
      } catch (const std::exception&) {
        return "thrown";
      }
      return "not thrown";
    });
  });
  for (const auto& [rank, end] : ends) EXPECT_EQ(end.text, "thrown") << rank;
}

}  // namespace
}  // namespace atl::parallel
