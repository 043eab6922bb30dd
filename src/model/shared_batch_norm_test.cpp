#include "model/shared_batch_norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <barrier>
#include <mutex>
#include <thread>
#include <vector>

namespace atl::model {
namespace {

constexpr int64_t kChannels = 5;
constexpr double kMomentum = 0.1;
constexpr double kEps = 1e-5;

// The ranks are threads here.
class Sum {
 public:
  explicit Sum(int ranks) : meeting_(ranks) {}
  void operator()(const at::Tensor& tensor) {
    meeting_.arrive_and_wait();
    {
      const std::lock_guard lock(mutex_);
      total_ = total_.defined() ? total_ + tensor : tensor.clone();
      ++sums_;
    }
    meeting_.arrive_and_wait();
    tensor.copy_(total_);
    meeting_.arrive_and_wait();
    const std::lock_guard lock(mutex_);
    total_ = at::Tensor();
  }
  int sums() const { return sums_; }

 private:
  std::barrier<> meeting_;
  std::mutex mutex_;
  at::Tensor total_;
  int sums_ = 0;
};

struct Outcome {
  at::Tensor y;
  at::Tensor x_gradient;
  BatchNormTensors norm;
};

BatchNormTensors fresh() {
  return {(at::arange(kChannels, at::kFloat) * 0.3 + 0.5).requires_grad_(),
          (at::arange(kChannels, at::kFloat) * 0.1).requires_grad_(),
          at::full({kChannels}, 0.2),
          at::full({kChannels}, 1.5),
          kMomentum,
          kEps};
}

at::Tensor pixels(int64_t images, int64_t seed) {
  // Means of several deviations, as convolutions give them.
  return ((at::arange(images * kChannels * 6 * 7, at::kFloat) + seed * 1000).sin() * 2 + 3)
      .view({images, kChannels, 6, 7})
      .contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor loss_of(const at::Tensor& y) { return (y * y * at::arange(7, at::kFloat)).sum(); }

// `parts` of one batch, each a rank's.
std::vector<Outcome> on_ranks(const std::vector<at::Tensor>& parts,
                              const std::vector<bool>& placeholder) {
  std::vector<Outcome> outcomes(parts.size());
  Sum sum(static_cast<int>(parts.size()));
  std::vector<std::thread> ranks;
  for (size_t rank = 0; rank < parts.size(); ++rank) {
    ranks.emplace_back([&, rank] {
      Outcome& outcome = outcomes[rank];
      outcome.norm = fresh();
      const at::Tensor x = parts[rank].detach().clone().requires_grad_();
      const Ranks group{[&](const at::Tensor& tensor) { sum(tensor); }, placeholder[rank]};
      outcome.y = shared_batch_norm(x, outcome.norm, group);
      (loss_of(outcome.y) * (placeholder[rank] ? 0 : 1)).backward();
      outcome.x_gradient = x.grad();
    });
  }
  for (auto& rank : ranks) rank.join();
  return outcomes;
}

TEST(SharedBatchNorm, is_batch_norm_over_the_images_of_all_ranks) {
  const at::Tensor all = pixels(4, 0);
  const BatchNormTensors norm = fresh();
  const at::Tensor x = all.detach().clone().requires_grad_();
  const at::Tensor y = at::batch_norm(
      x, norm.gamma, norm.beta, norm.running_mean, norm.running_var, true, kMomentum, kEps, false);
  loss_of(y).backward();

  const auto ranks =
      on_ranks({all.narrow(0, 0, 3), all.narrow(0, 3, 1), pixels(1, 9)}, {false, false, true});
  const auto close = [](const at::Tensor& a, const at::Tensor& b) {
    return at::allclose(a, b, 1e-5, 1e-5);
  };
  EXPECT_TRUE(close(at::cat({ranks[0].y, ranks[1].y}), y));
  EXPECT_TRUE(
      at::allclose(at::cat({ranks[0].x_gradient, ranks[1].x_gradient}), x.grad(), 1e-4, 1e-4));
  EXPECT_TRUE(ranks[2].x_gradient.eq(0).all().item<bool>());
  at::Tensor gamma = at::zeros({kChannels});
  at::Tensor beta = at::zeros({kChannels});
  for (const Outcome& rank : ranks) {
    gamma = gamma + rank.norm.gamma.grad();
    beta = beta + rank.norm.beta.grad();
    EXPECT_TRUE(close(rank.norm.running_mean, norm.running_mean));
    EXPECT_TRUE(close(rank.norm.running_var, norm.running_var));
    EXPECT_TRUE(rank.norm.running_mean.equal(ranks[0].norm.running_mean));
    EXPECT_TRUE(rank.norm.running_var.equal(ranks[0].norm.running_var));
  }
  EXPECT_TRUE(at::allclose(gamma, norm.gamma.grad(), 1e-4, 1e-3));
  EXPECT_TRUE(at::allclose(beta, norm.beta.grad(), 1e-4, 1e-3));
}

TEST(SharedBatchNorm, keeps_the_type_of_half_precision) {
  const auto ranks =
      on_ranks({pixels(2, 0).to(at::kBFloat16), pixels(1, 3).to(at::kBFloat16)}, {false, false});
  for (const Outcome& rank : ranks) {
    EXPECT_EQ(rank.y.scalar_type(), at::kBFloat16);
    EXPECT_EQ(rank.x_gradient.scalar_type(), at::kBFloat16);
    EXPECT_EQ(rank.norm.gamma.grad().scalar_type(), at::kFloat);
    EXPECT_TRUE(rank.x_gradient.isfinite().all().item<bool>());
  }
}

}  // namespace
}  // namespace atl::model
