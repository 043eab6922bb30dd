// What the programs of one rank of `./run bench allreduce` and `./run bench ddp` are told: --name value, of which
// --rank, --size and --port say where it stands among the ranks of this machine.
#pragma once

#include <map>
#include <string>

#include "parallel/options.h"

namespace atl::bench {

using WordOptions = std::map<std::string, std::string>;

inline WordOptions read_options(int argc, char** argv) {
  WordOptions options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  return options;
}

inline parallel::GroupOptions place_of(const WordOptions& options) {
  parallel::GroupOptions place;
  place.rank = std::stoi(options.at("--rank"));
  place.size = std::stoi(options.at("--size"));
  place.master_port = static_cast<uint16_t>(std::stoi(options.at("--port")));
  return place;
}

}  // namespace atl::bench
