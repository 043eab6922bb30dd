// Bugs on purpose: the sanitizers must report each of them, or their clean runs would mean nothing.
// Usage: planted_bug heap|shift|race
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

namespace {

// The index comes from outside, so that no compiler can see the overflow or fold it away.
int read_past_the_heap(int index) {
  std::vector<int> values(4, 1);
  return values.data()[index];
}

int shift_too_far(int bits) { return 1 << bits; }

int race_on_a_counter() {
  int counter = 0;
  auto count = [&counter] {
    for (int i = 0; i < 1000; ++i) ++counter;
  };
  std::thread first(count);
  std::thread second(count);
  first.join();
  second.join();
  return counter;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string_view bug = argv[1];
  if (bug == "heap") std::printf("read %d\n", read_past_the_heap(3 + argc / 2));
  if (bug == "shift") std::printf("shifted to %d\n", shift_too_far(30 + argc));
  if (bug == "race") std::printf("counted to %d\n", race_on_a_counter());
  return 0;
}
