// How sums of a few numbers go over many ranks. Gloo sends a sum round a ring of all ranks, 2 (N - 1) messages one after
// the other: for a few numbers on 512 ranks and a network of 20 us that is 20 ms, several times a step
// (docs/scaling.md). So ranks are numbered in mixed radix, N = f1 f2 f3 …, and are summed digit by digit, in rings of
// those that differ in this digit only: 2 (f1 - 1 + f2 - 1 + …) messages.
//
// All ranks get the same bits: after a digit, ranks that differ in the digits so far have the same numbers, and the next
// digit's rings add the same ones, in the same order.
#pragma once

#include <vector>

namespace atl::parallel {

// Digit by digit, the last one (neighbours, on one machine) first; their product is `ranks`. No more than 8 each, but
// for larger prime factors.
std::vector<int> ring_sizes(int ranks);

// Where a rank stands at one digit.
struct RingPlace {
  int ring = 0;  // of all with this digit
  int rank = 0;  // in the ring
};
RingPlace place_in_ring(int rank, const std::vector<int>& sizes, size_t digit);

}  // namespace atl::parallel
