// Writes the arrays that bench/eval.py --full holds against pycocotools':
//
//   eval_arrays GT.json DT.json FOLDER [--no-categories]
//
// writes FOLDER/{bbox,segm}_{precision,recall,scores}.f64; without categories as with useCats = 0.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "dataset/coco.h"
#include "eval/eval.h"

namespace {

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    fmt::print(stderr, "eval_arrays: cannot read {}\n", path);
    std::exit(1);
  }
  return {std::istreambuf_iterator<char>(stream), {}};
}

template <typename T>
T value_of(atl::Result<T> result) {
  if (!result) {
    fmt::print(stderr, "eval_arrays: {}\n", result.error().to_string());
    std::exit(1);
  }
  return std::move(*result);
}

void write(const std::string& path, const std::vector<double>& values) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(double)));
  if (!stream.flush()) {
    fmt::print(stderr, "eval_arrays: cannot write {}\n", path);
    std::exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool no_categories = argc == 5 && std::string_view(argv[4]) == "--no-categories";
  if (argc != 4 && !no_categories) {
    fmt::print(stderr, "usage: eval_arrays GT.json DT.json FOLDER [--no-categories]\n");
    return 2;
  }
  const auto truth = value_of(atl::dataset::CocoDataset::parse(read_file(argv[1]), argv[1]));
  auto detections = value_of(atl::eval::parse_results(read_file(argv[2]), argv[2], truth));
  atl::eval::EvalOptions options;
  options.strict_pycocotools = true;
  options.use_categories = !no_categories;
  const auto evaluation = value_of(atl::eval::evaluate(truth, std::move(detections), options));
  for (const auto& [kind, result] : evaluation.kinds) {
    const std::string prefix =
        fmt::format("{}/{}", argv[3], kind == atl::eval::IouKind::kBox ? "bbox" : "segm");
    write(prefix + "_precision.f64", result.precision);
    write(prefix + "_recall.f64", result.recall);
    write(prefix + "_scores.f64", result.scores);
  }
}
