// What job/place.h finds here, for launchers to start: as FOLDER/RANK.json, with the environment that it was found in, or
// as a line of JSON where no folder is named. Its error, and exit code 2.
//
//   print_place [FOLDER]
#include <exception>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "job/launch.h"
#include "job/place.h"

namespace {

nlohmann::json described(const atl::job::Place& place) {
  nlohmann::json found = {{"source", place.source},
                          {"note", place.note},
                          {"nodes", place.nodes},
                          {"node", place.node},
                          {"local_size", place.local_size},
                          {"local_rank", nullptr},
                          {"rank", place.rank},
                          {"size", place.size},
                          {"host", place.host},
                          {"master_host", place.master_host},
                          {"master_port", place.master_port}};
  if (place.local_rank) found["local_rank"] = *place.local_rank;
  return found;
}

int print(const char* folder) {
  const auto place = atl::job::find_place({}, atl::job::this_machine());
  if (!place) {
    std::cerr << place.error().to_string() << '\n';
    return 2;
  }
  nlohmann::json found = described(*place);
  if (folder == nullptr) {
    std::cout << found.dump() << '\n';
    return 0;
  }
  found["environment"] = atl::job::own_environment();
  std::ofstream file(std::string(folder) + "/" + std::to_string(place->rank) + ".json");
  file << found.dump(1) << std::flush;
  return file.good() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return print(argc < 2 ? nullptr : argv[1]);
  } catch (const std::exception& error) {
    std::cerr << "print_place: " << error.what() << '\n';
    return 1;
  }
}
