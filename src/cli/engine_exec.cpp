#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/own_program.h"
#include "cli/engine.h"

namespace atl::cli {
namespace {

// How long OpenMP's threads spin at the end of a parallel region before they sleep, in rounds; read
// once, when the engine loads its libgomp. The library's own choice, 300,000 and more, costs
// nothing while the cores are ours alone, but stops everything when they are not: two trainings
// side by side on 2 cores took 204 s where this takes 33 s, and one alone 11.9 s where this takes
// 11.3 s (60 steps of `tiny`). A user's own setting stands.
constexpr const char* kSpinRounds = "10000";

class ExecEngine : public Engine {
 public:
  explicit ExecEngine(char** argv) : argv_(argv) {}

  Result<int> train(const TrainArguments&, CommandContext&) override { return exec(); }
  Result<int> evaluate(const train::EvaluateOptions&, CommandContext&) override { return exec(); }
  Result<int> predict(const train::PredictOptions&, CommandContext&) override { return exec(); }

 private:
  // Returns only when it fails.
  Result<int> exec() const {
    const std::filesystem::path self = ATOLL_TRY(own_program());
    const std::string engine = self.parent_path() / "atoll-engine";
    std::fflush(nullptr);
    if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", kSpinRounds, 0);
    ::execv(engine.c_str(), argv_);
    const int error_number = errno;
    auto failure = fail_errno("starting " + engine, error_number);
    if (error_number == ENOENT) {
      return fail(ErrorCode::kNotFound,
                  engine + " is not there",
                  "it holds the jobs that need LibTorch: build with ATOLL_WITH_TORCH=ON, and keep "
                  "the two programs in one directory");
    }
    return failure;
  }

  char** argv_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(char** argv) { return std::make_unique<ExecEngine>(argv); }

}  // namespace atl::cli
