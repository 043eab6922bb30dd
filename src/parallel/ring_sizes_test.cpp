#include "parallel/ring_sizes.h"

#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <numeric>
#include <set>

namespace atl::parallel {
namespace {

using testing::ElementsAre;

TEST(RingSizes, are_small_and_number_all_ranks) {
  EXPECT_THAT(ring_sizes(1), ElementsAre(1));
  EXPECT_THAT(ring_sizes(8), ElementsAre(8));
  EXPECT_THAT(ring_sizes(12), ElementsAre(6, 2));
  EXPECT_THAT(ring_sizes(13), ElementsAre(13));
  EXPECT_THAT(ring_sizes(26), ElementsAre(2, 13));
  EXPECT_THAT(ring_sizes(64), ElementsAre(8, 8));
  EXPECT_THAT(ring_sizes(4096), ElementsAre(8, 8, 8, 8));
  for (int ranks = 1; ranks <= 5000; ++ranks) {
    const auto sizes = ring_sizes(ranks);
    EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), 1, std::multiplies<>()), ranks);
  }
}

// Adds up as the rings do, and sees who has contributed to whom.
TEST(RingSizes, bring_every_rank_to_every_other_once) {
  for (const int ranks : {1, 2, 6, 12, 26, 30, 64, 105}) {
    const auto sizes = ring_sizes(ranks);
    std::vector<std::multiset<int>> sums(static_cast<size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) sums[static_cast<size_t>(rank)] = {rank};
    for (size_t digit = 0; digit < sizes.size(); ++digit) {
      std::map<int, std::map<int, int>> rings;  // ring -> place -> rank
      for (int rank = 0; rank < ranks; ++rank) {
        const RingPlace place = place_in_ring(rank, sizes, digit);
        EXPECT_TRUE(rings[place.ring].emplace(place.rank, rank).second);
      }
      const auto before = sums;
      for (const auto& [ring, members] : rings) {
        EXPECT_EQ(members.size(), static_cast<size_t>(sizes[digit]));
        EXPECT_EQ(members.begin()->first, 0);
        EXPECT_EQ(members.rbegin()->first, sizes[digit] - 1);
        std::multiset<int> sum;
        for (const auto& [place, rank] : members) {
          sum.insert(before[static_cast<size_t>(rank)].begin(),
                     before[static_cast<size_t>(rank)].end());
        }
        for (const auto& [place, rank] : members) sums[static_cast<size_t>(rank)] = sum;
      }
    }
    std::multiset<int> all;
    for (int rank = 0; rank < ranks; ++rank) all.insert(rank);
    for (const auto& sum : sums) EXPECT_EQ(sum, all) << ranks;
  }
}

}  // namespace
}  // namespace atl::parallel
