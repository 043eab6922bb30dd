#include "parallel/ring_sizes.h"

namespace atl::parallel {

std::vector<int> ring_sizes(int ranks) {
  constexpr int kLargest = 8;
  std::vector<int> sizes;
  for (int left = ranks; left > 1;) {
    int size = left < kLargest ? left : kLargest;
    while (size > 1 && left % size != 0) --size;
    if (size == 1) {  // no factor is so small
      for (size = kLargest + 1; left % size != 0;) ++size;
    }
    sizes.push_back(size);
    left /= size;
  }
  if (sizes.empty()) sizes.push_back(1);
  return sizes;
}

RingPlace place_in_ring(int rank, const std::vector<int>& sizes, size_t digit) {
  int below = 1;  // ranks that the digits before it number
  for (size_t i = 0; i < digit; ++i) below *= sizes[i];
  const int above = rank / (below * sizes[digit]);
  return {above * below + rank % below, rank / below % sizes[digit]};
}

}  // namespace atl::parallel
