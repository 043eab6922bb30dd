#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "cli/engine.h"

namespace atl::cli {
namespace {

class ExecEngine : public Engine {
 public:
  explicit ExecEngine(char** argv) : argv_(argv) {}

  Result<int> train(const TrainArguments&, CommandContext&) override { return exec(); }
  Result<int> evaluate(const train::EvaluateOptions&, CommandContext&) override { return exec(); }
  Result<int> predict(const train::PredictOptions&, CommandContext&) override { return exec(); }

 private:
  // Returns only when it fails.
  Result<int> exec() const {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) return fail_errno("reading /proc/self/exe", error.value());
    const std::string engine = self.parent_path() / "atoll-engine";
    std::fflush(nullptr);
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
