// One rank of `./run bench allreduce`, driven by bench/allreduce.py, which asks all ranks at once.
//
//   allreduce_bench --rank R --size N --port P
//
// "BYTES REPEATS" on stdin -> {"seconds": of one sum, "check": a number of the result}; end of input ends it.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <sstream>
#include <string>

#include "model_inputs.h"
#include "parallel/group.h"
#include "rank_options.h"

namespace atl {
namespace {

void check(const Result<void>& result) {
  if (result) return;
  std::cerr << result.error().to_string() << "\n";
  std::exit(1);
}

int run(int argc, char** argv) {
  at::set_num_threads(1);
  const auto place = bench::place_of(bench::read_options(argc, argv));
  auto group = bench::value_or_exit(parallel::Group::join(place, at::kCPU, {}));
  std::string command;
  while (std::getline(std::cin, command)) {
    int64_t bytes = 0;
    int repeats = 0;
    std::istringstream(command) >> bytes >> repeats;
    const at::Tensor numbers = at::full({bytes / 4}, static_cast<double>(group.rank() + 1));
    check(group.sum(numbers, "the first sum"));  // memory and connections are warm
    const auto sum = numbers[-1].item<float>();
    numbers.fill_(1);
    check(group.barrier("the beginning"));
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i) check(group.sum(numbers, "a sum"));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    std::cout << fmt::format(
                     "{{\"seconds\": {:.9f}, \"check\": {}}}", elapsed.count() / repeats, sum)
              << std::endl;
  }
  check(group.finish());
  return 0;
}

}  // namespace
}  // namespace atl

int main(int argc, char** argv) { return atl::run(argc, argv); }
