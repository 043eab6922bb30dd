#include "cli/program.h"

int main(int argc, char** argv) {
  const auto engine = atl::cli::make_engine(argv);
  return atl::cli::run_program(argc, argv, *engine);
}
